// Paceline as a side of the benchmark: the harness's events, through Enqueue, with its template and its sink.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync, createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const root = fileURLToPath(new URL('../..', import.meta.url));
// The harness runs in its own folder; its workload is the one that every side gets.
const workload = await import(pathToFileURL(join(process.cwd(), 'common/workload.mjs')));

export const name = 'paceline';
// `identities` and `tenants`: over how many of each the mail is spread, each pair a stream of its own. `pace`: emails a second of
// each identity, `slow`: those of the second one. `replicas`: Redis servers that follow the first, with its settings. `bulk`: feedback
// and links to unsubscribe, without which no bulk mail is taken.
export const defaults = {
  workers: 2, conc: 128, renderers: 1, profile: 'release', durability: 'local', replicas: 0, identities: 1, tenants: 1, pace: 50_000, slow: 0,
  bulk: false,
};

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let ingestAddress;

// Whatever ends the harness, a start that failed included, ends the services.
const children = [];
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

/** The benchmark's template as a bundle. */
function writeTemplate(folder) {
  const bundle = join(folder, 'order-confirmation');
  mkdirSync(join(bundle, 'examples'), { recursive: true });
  const example = workload.event(0, 'example').data;
  const schema = Object.fromEntries(Object.keys(example).map((key) => [key, key === 'items' ? 'array' : 'string']));
  const files = {
    'template.toml': 'name = "order-confirmation"\nversion = 1\nlane = "transactional"\n[from]\naddress = "noreply@example.com"\n',
    'subject.hbs': 'Your order {{orderNumber}} is confirmed',
    'body.html.hbs': workload.templateSource,
    'body.txt.hbs': 'Thanks {{firstName}}, your order {{orderNumber}} is on its way to {{city}}.',
    'schema.json': JSON.stringify(schema),
    'examples/first.json': JSON.stringify(example),
  };
  for (const [path, text] of Object.entries(files)) writeFileSync(join(bundle, path), text);
}

/** The settings of so many identities, each with a domain of its own; the template's From belongs to the first. */
const identitySettings = (count) =>
  Array.from({ length: count }, (_, i) => `
[[identity]]
name = "identity-${i}"
from_domains = ["${domain(i)}"]
tenants = ["*"]
[identity.ses]
region = "eu-west-1"
configuration_set = "production"
`).join('');

const domain = (i) => (i === 0 ? 'example.com' : `i${i}.example.com`);

/** The highest memory of a process so far, in MB. */
const peakMb = (pid) => Math.round(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1] / 1024);

/** Of the enqueues that ingest answered, the bounds in ms below which 50, 95 and 99 % lie, as its own histogram has them. */
async function enqueueMs(ingest) {
  const text = await (await fetch(`http://${ingest.admin}/metrics`)).text();
  const counts = {};
  for (const [, labels, count] of text.matchAll(/^ingest_enqueue_duration_seconds_bucket\{(.*)\} (\d+)$/gm)) {
    const bound = Number(/le="([^"]+)"/.exec(labels)[1].replace('+Inf', 'Infinity'));
    counts[bound] = (counts[bound] ?? 0) + Number(count);
  }
  const bounds = Object.keys(counts).map(Number).sort((a, b) => a - b);
  const below = (share) => bounds.find((bound) => counts[bound] >= share * counts.Infinity) * 1_000;
  return { all: counts.Infinity, p50: below(0.5), p95: below(0.95), p99: below(0.99) };
}

/** How many messages stand in each state, by the letter in their records. */
async function states(redis) {
  const count = {};
  let cursor = '0';
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', '{pl1:0}:m:*', 'COUNT', 1_000);
    cursor = next;
    const pipeline = redis.pipeline();
    keys.forEach((key) => pipeline.getrange(key, 1, 1));
    for (const [, letter] of await pipeline.exec()) count[letter] = (count[letter] ?? 0) + 1;
  } while (cursor !== '0');
  return count;
}

/** A Redis that follows the one of the run, once it has all of it. */
async function follow(o, redis, folder, number) {
  const port = o.redisPort + 100 + number;
  const directory = join(folder, `replica-${number}`);
  mkdirSync(directory);
  const [, appendfsync] = await redis.config('GET', 'appendfsync');
  const args = ['--port', port, '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--appendonly', 'yes', '--appendfsync', appendfsync];
  args.push('--replicaof', '127.0.0.1', o.redisPort, '--repl-diskless-sync-delay', 0);
  const child = spawn(process.env.BENCH_REDIS_BIN || 'redis-server', args.map(String), { stdio: 'ignore' });
  children.push(child);
  for (let look = 0; look < 100; look += 1) {
    if (/state=online/.test(await redis.info('replication'))) return child;
    await sleep(100);
  }
  throw new Error('the replica does not come');
}

/** Starts one service and waits for its line "ready". */
async function start(folder, profile, service, file, settings) {
  const path = join(folder, `${file}.toml`);
  writeFileSync(path, settings);
  const child = spawn(join(root, 'target', profile, service), ['--config', path], { stdio: ['ignore', 'ignore', 'pipe'] });
  children.push(child);
  const log = createWriteStream(join(folder, `${file}.log`));
  child.stderr.pipe(log);
  const lines = createInterface({ input: child.stderr });
  const ready = await new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${service} ended with ${code}; see ${folder}`)));
    lines.on('line', (line) => {
      if (!line.includes('"ready"')) return;
      const event = JSON.parse(line);
      if (event.message === 'ready') resolve(event);
    });
  });
  return { name: file, child, grpc: ready.grpc, admin: ready.admin };
}

export async function setup(o, redis) {
  const folder = mkdtempSync(join(tmpdir(), 'paceline-load-'));
  writeTemplate(join(folder, 'templates'));
  const identities = identitySettings(o.identities);
  // At level local a Redis that names no run is held for 5 s: here nobody has anything to say to it.
  const [, run] = /run_id:(\w+)/.exec(await redis.info('server'));
  await redis.hset('{pl1:0}:run', 'run', run, 'hold_until', 0);
  const common = `listen = "127.0.0.1:0"\nadmin_listen = "127.0.0.1:0"\n`;
  const stored = `[redis]\nurl = "redis://127.0.0.1:${o.redisPort}"\ndurability = "${o.durability}"\nreplicas = ${o.replicas}\n`;
  const people = o.bulk ? `address_key = "${'0'.repeat(64)}"\n` : '';
  const links = o.bulk ? '[unsubscribe]\nbase_url = "https://mail.example.com"\n' : '';
  const linkKeys = o.bulk ? `keys = [{ id = "a", secret = "${'1'.repeat(64)}" }]\n` : '';
  const templates = `[templates]\ndirectory = "${folder}/templates"\n`;
  const replicas = [];
  for (let i = 0; i < o.replicas; i++) replicas.push({ name: `replica-${i}`, child: await follow(o, redis, folder, i) });
  const one = (service, file, settings) => start(folder, o.profile, service, file, settings);

  const coordinator = await one('throttle-coordinator', 'throttle-coordinator', `${common}${stored}
[rates]
mode = "static"
start = ${o.pace.toFixed(1)}
ceiling = ${o.pace.toFixed(1)}
${o.slow ? `[[key]]\nprovider = "ses"\nidentity = "identity-1"\nstart = ${o.slow}\nfloor = ${o.slow}\nceiling = ${o.slow}\n` : ''}`);
  const ingest = await one('ingest', 'ingest', `digest_key = "${'0'.repeat(64)}"\n${common}${stored}${links}${templates}${identities}`);
  ingestAddress = ingest.grpc;
  const web = '[web]\nlisten = "127.0.0.1:0"\n';
  const feedback = o.bulk ? [await one('feedback', 'feedback',
    `${people}${common}${stored}log = "ring"\n${web}[ledger]\nurl = "sqlite:${folder}/ledger.db"\n[unsubscribe]\n${linkKeys}`)] : [];
  const paused = [];
  for (let i = 0; i < o.renderers; i++) paused.push(await one('renderer', `renderer-${i}`, `${people}${common}${stored}${links}${linkKeys}${templates}`));
  for (let i = 0; i < o.workers; i++) {
    paused.push(await one('sender', `sender-${i}`, `name = "sender-${i}"\ndeliver = "live"\nin_flight_max = ${o.conc}\nin_flight_per_identity_max = ${o.conc}\ncoordinators = ["http://${coordinator.grpc}"]
${people}${common}${stored}
[ses]
endpoint_url = "http://127.0.0.1:${o.sinkPort}"
credentials = "look_alike"
${identities}`));
  }
  const all = [coordinator, ingest, ...feedback, ...paused, ...replicas];
  const signal = (services, what) => services.forEach(({ child }) => child.kill(what));
  signal(paused, 'SIGSTOP');
  return {
    pids: all.map(({ child }) => child.pid),
    go: () => signal(paused, 'SIGCONT'),
    pause: () => signal(paused, 'SIGSTOP'),
    stop: async () => {
      signal(paused, 'SIGCONT');
      const peak_mb = Object.fromEntries(all.map(({ name, child }) => [name, peakMb(child.pid)]));
      console.log(JSON.stringify({ part: 'after', peak_mb, enqueue_below_ms: await enqueueMs(ingest), records: await states(redis) }));
      const ends = all.map(({ child }) => new Promise((resolve) => child.once('exit', resolve)));
      signal(all, 'SIGTERM');
      await Promise.race([Promise.all(ends), sleep(20_000)]);
      signal(all, 'SIGKILL');
    },
  };
}

function client() {
  const definition = loader.loadSync('paceline/v1/ingest.proto', { includeDirs: [join(root, 'proto')], keepCase: true, longs: Number });
  const { IngestService } = grpc.loadPackageDefinition(definition).paceline.v1;
  return new IngestService(ingestAddress, grpc.credentials.createInsecure(), { 'grpc.max_receive_message_length': 64 << 20 });
}

// `o.identity`: all from this one, else in turn. `o.lane`: another one than the template's.
const request = (event, o, number, identity = o.identity ?? number % o.identities) => ({
  tenant: `bench-${Math.floor(number / o.identities) % o.tenants}`,
  from: identity === 0 ? undefined : { address: `noreply@${domain(identity)}` },
  lane: o.lane,
  template: 'order-confirmation',
  recipient: { address: event.to },
  user_id: event.userId,
  data: Buffer.from(JSON.stringify(event.data)),
  // The sink counts this tag's values.
  tags: [{ name: 'idem', value: event.eventId }],
});

/** A call of Enqueue as JSON has it, and where it goes: for a generator that is a program of its own. */
export const call = (event, o) => {
  const message = request(event, o, 0);
  return { ...message, data: message.data.toString('base64') };
};

export const target = () => [
  `--import-paths=${join(root, 'proto')}`, '--proto=paceline/v1/ingest.proto', '--call=paceline.v1.IngestService.Enqueue', ingestAddress,
];

const ask = (stub, method, message) =>
  new Promise((resolve, reject) => stub[method](message, { deadline: Date.now() + 30_000 }, (error, answer) => (error ? reject(error) : resolve(answer))));

export async function preload(o, redis, n, run) {
  const stub = client();
  for (let i = 0; i < n; i += 500) {
    const events = Array.from({ length: Math.min(500, n - i) }, (_, k) => workload.event(i + k, run));
    const { results } = await ask(stub, 'EnqueueBatch', { requests: events.map((event, k) => request(event, o, i + k)) });
    const refused = results.find((result) => result.error);
    if (refused) throw new Error(JSON.stringify(refused.error));
  }
  stub.close();
}

const WAITING = `local sum = 0
for _, stream in ipairs(redis.call('SMEMBERS', KEYS[1])) do sum = sum + redis.call('XLEN', stream) end
return sum`;

/** Entries queued and rendered. */
export const waiting = (redis) => redis.eval(WAITING, 1, '{pl1:0}:active');

/** Nothing queued, rendered or claimed. */
export async function idle(o, redis) {
  return (await redis.zcard('{pl1:0}:open')) === 0 && (await waiting(redis)) === 0;
}

export function producer(o) {
  const stub = client();
  let number = 0;
  return { enqueue: (event) => ask(stub, 'Enqueue', request(event, o, number++)), close: async () => stub.close() };
}
