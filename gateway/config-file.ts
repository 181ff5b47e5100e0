import { readFileSync } from 'node:fs';
import type { Environment } from '../shared/platform/environment.ts';
import { GATEWAY_VARIABLES } from './config.ts';

/** Names the file; can't be in it. */
const FILE_VARIABLE = 'LYCEUM_GATEWAY_CONFIG';

/**
 * The environment with what the file at `LYCEUM_GATEWAY_CONFIG` says in the place of its own: a process can't be given
 * another environment, but another file. JSON (`{"CORS_ORIGINS": ["https://a"]}`) or lines of `NAME=value`. Throws an
 * Error that says what is wrong with it.
 */
export function gatewayEnvironment(env: Environment): Environment {
  const file = env[FILE_VARIABLE];
  if (!file) return env;
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`${FILE_VARIABLE}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const said = text.trimStart().startsWith('{') ? fromJson(text, file) : fromLines(text, file);
  const unknown = Object.keys(said).filter((name) => !GATEWAY_VARIABLES.has(name));
  if (unknown.length > 0)
    throw new Error(`${file}: ${unknown.join(', ')}: the gateway reads no such variable`);
  return { ...env, ...said };
}

function fromJson(text: string, file: string): Environment {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const values: Environment = {};
  for (const [name, value] of Object.entries(parsed as object)) {
    const parts: unknown[] = Array.isArray(value) ? value : [value];
    if (parts.some((part) => !['string', 'number', 'boolean'].includes(typeof part)))
      throw new Error(`${file}: ${name}: must be a text, a number or a list of them`);
    values[name] = parts.join(',');
  }
  return values;
}

function fromLines(text: string, file: string): Environment {
  const values: Environment = {};
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    const [, name, value = ''] = /^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name === undefined) throw new Error(`${file}: line ${index + 1} is not NAME=value`);
    values[name] = /^(["']).*\1$/.test(value) ? value.slice(1, -1) : value;
  }
  return values;
}
