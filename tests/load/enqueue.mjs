// The latency of Enqueue at --offered calls a second for --secs, by ghz: calls start on time whether or not the ones before them are
// answered, over --connections connections. One JSON line; the services' own histogram comes with the line after it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const load = (path) => import(pathToFileURL(path).href);
const L = await load(join(process.cwd(), 'common/lib.mjs'));
const workload = await load(join(process.cwd(), 'common/workload.mjs'));
const { default: Redis } = await load(join(process.cwd(), 'node_modules/ioredis/built/index.js'));
const base = { sidefile: '', offered: 1_000, secs: 10, connections: 4, warm: 2_000, persist: 'aof', label: '' };
const given = L.args(base);
const side = await load(given.sidefile);
const o = { ...base, ...side.defaults, workers: 1, ...given, redisPort: L.REDIS_PORT, sinkPort: L.SINK_PORT };
const data = join(mkdtempSync(join(tmpdir(), 'paceline-calls-')), 'calls.json');
// Each call has a recipient of its own, and so is a message of its own; what it says is the harness's first event.
writeFileSync(data, JSON.stringify({ ...side.call(workload.event(0, 'q'), o), recipient: { address: '{{.UUID}}@example.com' } }));

async function ghz(...options) {
  const fixed = ['--insecure', '--async', '--format=json', `--data-file=${data}`, `--connections=${o.connections}`, `--concurrency=${o.connections * 8}`];
  const child = spawn(process.env.GHZ, [...fixed, ...side.target(), ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (part) => (text += part));
  await once(child, 'close');
  return JSON.parse(text);
}

let redisP, sinkP, w, redis;
try {
  redisP = await L.startRedis(o.persist);
  sinkP = await L.startSink({ latency_ms: 20 });
  redis = new Redis({ host: '127.0.0.1', port: L.REDIS_PORT });
  w = await side.setup(o, redis);
  await ghz('--rps=1000', `--total=${o.warm}`);
  const machine = L.machineCpu();
  const report = await ghz(`--rps=${o.offered}`, `--total=${o.offered * o.secs}`);
  const now = L.machineCpu();
  const seconds = report.total / 1e9;
  const ms = (ns) => L.r2(ns / 1e6);
  const at = (percentage) => ms(report.latencyDistribution.find((it) => it.percentage === percentage).latency);
  console.log(JSON.stringify({
    part: 'enqueue', side: side.name, label: o.label, offered_per_s: o.offered, achieved_per_s: Math.round(report.count / seconds), secs: o.secs,
    latency_ms: { p50: at(50), p95: at(95), p99: at(99), max: ms(report.slowest) }, answers: report.statusCodeDistribution,
    machine_busy_cores: L.r2((now.total - machine.total - (now.idle - machine.idle)) / 100 / seconds), time: new Date().toISOString(),
  }));
} finally {
  if (w) await w.stop().catch((error) => console.error(error));
  if (redis) redis.disconnect();
  await L.stop(sinkP);
  await L.stop(redisP);
}
process.exit(0);
