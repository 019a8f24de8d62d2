// Handlebars.js's side of handlebars_spec.rs.
//   node handlebars_spec.mjs spec          every case of handlebars-spec as a line of JSON, with whether Handlebars.js passes it
//   node handlebars_spec.mjs cases FILE    what Handlebars.js writes for our own cases, put into FILE
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const folder = process.env.HANDLEBARS_JS;
const Handlebars = createRequire(join(folder, 'package.json'))('handlebars');

// Options that change what a template means; strict is what we are anyway.
const OPTIONS = ['assumeObjects', 'compat', 'explicitPartialContext', 'ignoreStandalone', 'knownHelpers', 'knownHelpersOnly',
  'preventIndent', 'stringParams', 'trackIds'];

const isCode = (value) => value !== null && typeof value === 'object' &&
  (Object.keys(value).some((key) => key.startsWith('!')) || Object.values(value).some(isCode));

// The code of a case runs with what the package's own runner gives it.
globalThis.Handlebars = Handlebars;
globalThis.equals = globalThis.equal = (given, expected) => {
  if (given !== expected) throw new Error(`${given} is not ${expected}`);
};
function revive(value) {
  if (value === null || typeof value !== 'object') return value;
  if (value['!code']) return (0, eval)(`(${value.javascript})`);
  if (value['!undefined']) return undefined;
  if (value['!sparsearray']) {
    const list = [];
    for (const [key, item] of Object.entries(value)) if (key !== '!sparsearray') list[key] = revive(item);
    return list;
  }
  if (Array.isArray(value)) return value.map(revive);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item)]));
}

function passes(one) {
  try {
    const engine = Handlebars.create();
    const render = engine.compile(one.template, one.compileOptions ?? {});
    const written = render(revive(one.data), {
      ...revive(one.runtimeOptions ?? {}),
      helpers: revive(one.helpers ?? {}),
      decorators: revive(one.decorators ?? {}),
      partials: revive(one.partials ?? {}),
    });
    return one.exception ? false : written === one.expected;
  } catch {
    return Boolean(one.exception);
  }
}

function needs(one) {
  if (one.helpers || one.decorators || isCode(one.data) || isCode(one.partials) || one.runtimeOptions) return 'code of the host';
  if (OPTIONS.some((option) => one.compileOptions?.[option])) return 'options of the host';
  if (one.data !== undefined && one.data !== null && (typeof one.data !== 'object' || Array.isArray(one.data))) return 'data that is no object';
  return null;
}

const [what, file] = process.argv.slice(2);
if (what === 'cases') {
  const cases = JSON.parse(readFileSync(file, 'utf8'));
  for (const one of cases) {
    const engine = Handlebars.create();
    for (const [name, source] of Object.entries(one.partials ?? {})) engine.registerPartial(name, source);
    engine.registerHelper('raw', (options) => options.fn());
    try {
      one.js = engine.compile(one.template, { strict: true })(one.data ?? {});
    } catch (error) {
      one.js = { error: error.message.split('\n')[0] };
    }
  }
  writeFileSync(file, `[\n${cases.map((one) => `  ${JSON.stringify(one)}`).join(',\n')}\n]\n`);
} else {
  const specs = join(folder, 'node_modules/handlebars-spec/spec');
  for (const name of readdirSync(specs).sort()) {
    // These two are about tokens and trees.
    if (['parser.json', 'tokenizer.json'].includes(name)) continue;
    for (const one of JSON.parse(readFileSync(join(specs, name), 'utf8'))) {
      console.log(JSON.stringify({
        file: name.replace('.json', ''),
        name: [one.description, one.it, one.number].filter(Boolean).join(' / '),
        template: one.template,
        data: one.data ?? {},
        partials: isCode(one.partials) ? {} : one.partials ?? {},
        expected: one.exception ? null : one.expected,
        js: passes(one),
        needs: needs(one),
      }));
    }
  }
}
