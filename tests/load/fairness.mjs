// How long mail takes from the call of Enqueue until the provider has taken it, while other mail waits: one JSON line.
// --block=none: nothing else waits. slow: --backlog messages of an identity that may send 100 a day. flood: as many bulk
// messages of the same identity.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const load = (path) => import(pathToFileURL(path).href);
const L = await load(join(process.cwd(), 'common/lib.mjs'));
const workload = await load(join(process.cwd(), 'common/workload.mjs'));
const { default: Redis } = await load(join(process.cwd(), 'node_modules/ioredis/built/index.js'));
const base = { sidefile: '', block: 'none', backlog: 100_000, probes: 1_000, every: 20, latency: 20, persist: 'aof', label: '' };
const given = L.args(base);
const side = await load(given.sidefile);
const blocks = { none: {}, slow: { slow: 100 / 86_400 }, flood: { bulk: true } };
const o = { ...base, ...side.defaults, identities: 2, pace: 2_000, ...given, ...blocks[given.block], redisPort: L.REDIS_PORT, sinkPort: L.SINK_PORT };
const LANES = { transactional: 1, bulk: 2 };

/** When the record came into its last state, by its bytes 26 to 31 (crates/store/src/packed.rs); none before it is accepted. */
function acceptedAt(record) {
  return record?.[1] === 'a'.charCodeAt(0) ? record.readUIntBE(26, 6) : undefined;
}

let redisP, sinkP, w, redis;
try {
  redisP = await L.startRedis(o.persist);
  sinkP = await L.startSink({ latency_ms: o.latency });
  redis = new Redis({ host: '127.0.0.1', port: L.REDIS_PORT });
  w = await side.setup(o, redis);
  const producer = side.producer({ ...o, identities: 1 });
  w.go();
  // The first emails wait for the leader's first leases.
  for (let i = 0; i < 100; i += 1) await producer.enqueue(workload.event(i, 'w'));
  await L.sleep(4_000);
  if (o.block !== 'none') {
    const of = o.block === 'slow' ? { identity: 1 } : { identity: 0, lane: LANES.bulk };
    await side.preload({ ...o, ...of }, redis, o.backlog, 'b');
  }
  const called = [];
  const answers = [];
  for (let i = 0; i < o.probes; i += 1) {
    called.push(Date.now());
    answers.push(producer.enqueue(workload.event(i, 'p')));
    await L.sleep(o.every);
  }
  const keys = (await Promise.all(answers)).map((answer) => `{pl1:0}:m:${answer.message_id}`);
  const waiting = await side.waiting(redis);
  let accepted;
  for (let look = 0; look < 600; look += 1) {
    accepted = (await redis.mgetBuffer(keys)).map(acceptedAt);
    if (!accepted.includes(undefined)) break;
    await L.sleep(100);
  }
  if (accepted.includes(undefined)) throw new Error(`${accepted.filter((at) => at === undefined).length} are not accepted`);
  const took = Float64Array.from(accepted, (at, i) => at - called[i]).sort();
  const quantile = (share) => took[Math.min(took.length - 1, Math.floor(took.length * share))];
  console.log(JSON.stringify({
    part: 'fairness', label: o.label, block: o.block, backlog: o.block === 'none' ? 0 : o.backlog, left_at_the_end: waiting, probes: o.probes,
    enqueue_to_accepted_ms: { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99), max: took[took.length - 1] },
    time: new Date().toISOString(),
  }));
} finally {
  if (w) await w.stop().catch((error) => console.error(error));
  if (redis) redis.disconnect();
  await L.stop(sinkP);
  await L.stop(redisP);
}
process.exit(0);
