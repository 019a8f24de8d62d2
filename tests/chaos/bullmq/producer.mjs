// Enqueues at a bounded rate, repeats what fails, and prints the id of each job that BullMQ acknowledged:
// producer.mjs REDIS_PORT FIRST COUNT. Then waits until BullMQ has nothing more to do, if asked: producer.mjs REDIS_PORT idle.
import { Queue } from 'bullmq';

const [port, first, count] = process.argv.slice(2);
const queue = new Queue('emails', { connection: { host: '127.0.0.1', port: Number(port) } });
queue.on('error', () => {});
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function add(number) {
  for (;;) {
    try {
      // The job's id is BullMQ's own means against a second copy.
      await queue.add('email', { to: `user${number}@example.com` }, {
        jobId: `m-${number}`, attempts: 3, backoff: { type: 'exponential', delay: 200 },
      });
      return console.log(`m-${number}`);
    } catch {
      await pause(100);
    }
  }
}

if (first === 'idle') {
  for (;;) {
    const counts = await queue.getJobCounts('active', 'wait', 'delayed', 'prioritized').catch(() => ({ unknown: 1 }));
    if (Object.values(counts).every((jobs) => jobs === 0)) break;
    await pause(100);
  }
} else {
  const calls = [];
  for (let number = Number(first); number < Number(first) + Number(count); number++) {
    calls.push(add(number));
    await pause(12);
  }
  await Promise.all(calls);
}
await queue.close();
process.exit(0);
