// A worker as BullMQ's guide has it: worker.mjs REDIS_PORT PROVIDER_URL. Its jobs call SES's API once, and wait a second for the answer;
// whatever fails is thrown, and BullMQ tries again.
import { Worker } from 'bullmq';

const [port, provider] = process.argv.slice(2);

async function send(job) {
  const answer = await fetch(`${provider}/v2/email/outbound-emails`, {
    method: 'POST',
    signal: AbortSignal.timeout(1000),
    headers: {
      'content-type': 'application/json',
      authorization: 'AWS4-HMAC-SHA256 Credential=LOCAL/20260101/eu-west-1/ses/aws4_request, SignedHeaders=host, Signature=0',
    },
    body: JSON.stringify({
      FromEmailAddress: 'shop@example.com',
      Destination: { ToAddresses: [job.data.to] },
      Content: { Simple: { Subject: { Data: `Number ${job.id}` }, Body: { Text: { Data: `This is number ${job.id}.` } } } },
      ConfigurationSetName: 'paceline',
      EmailTags: [{ Name: 'paceline_id', Value: job.id }],
    }),
  });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return (await answer.json()).MessageId;
}

const worker = new Worker('emails', send, {
  connection: { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null },
  concurrency: 32,
});
worker.on('error', () => {});
await worker.waitUntilReady();
console.log('ready');
