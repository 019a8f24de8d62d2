// Handlebars.js's side of render_rate.rs: node render_rate.mjs BENCH events|check|bytes|rope COUNT
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { join, resolve } from 'node:path';

const [bench, what, count] = process.argv.slice(2);
const folder = resolve(bench);
const { event, templateSource } = await import(pathToFileURL(join(folder, 'common/workload.mjs')));
const data = Array.from({ length: 1000 }, (_, i) => event(i).data);

if (what === 'events') {
  for (const one of data.slice(0, Number(count))) console.log(JSON.stringify(one));
} else {
  const Handlebars = createRequire(join(process.env.HANDLEBARS_JS, 'package.json'))('handlebars');
  const render = Handlebars.compile(templateSource, { strict: true });
  if (what === 'check') {
    process.stdout.write(render(data[0]));
  } else {
    // A text that was put together is a tree of its pieces until somebody reads it, such as who sends it.
    const size = what === 'bytes' ? (text) => Buffer.from(text).length : (text) => text.length;
    let bytes = 0;
    const all = (n) => { for (let i = 0; i < n; i++) bytes += size(render(data[i % data.length])); };
    all(5000); // until the compiler has done its work
    const begin = process.cpuUsage();
    all(Number(count));
    const { user, system } = process.cpuUsage(begin);
    if (bytes === 0) throw new Error('nothing was rendered');
    console.log((user + system) / Number(count));
  }
}
