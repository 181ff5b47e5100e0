/**
 * How values travel between JavaScript and PostgreSQL, one table for both drivers, so that a test on PGlite
 * means the same on a real server. Both drivers send every parameter untyped: the server says what type it
 * expects there, and the serializer of that type is applied.
 *
 * | PostgreSQL | JavaScript |
 * |---|---|
 * | timestamptz, timestamp (read as UTC) | Date |
 * | int2, int4, int8, oid, float4, float8 | number (int8 beyond 2^53 loses digits) |
 * | numeric, date, time, interval, uuid, text … | string |
 * | json, jsonb | any JSON value; a parameter is always the value itself, never its JSON text; `null` is SQL null |
 * | bytea | Uint8Array |
 * | arrays of these | arrays; null elements are null; elements of jsonb[] may be anything but arrays |
 */

type Parse = (text: string) => unknown;
type Serialize = (value: unknown) => string;

interface Codec {
  parse: Parse;
  serialize: Serialize;
  /** Type id of its array. Type ids (OIDs) are fixed in PostgreSQL's pg_type.dat. */
  array: number;
}

const asIs: Parse = (text) => text;
const plain: Serialize = (value) => {
  if (value instanceof Date) return value.toISOString();
  if (typeof value === 'object')
    throw new TypeError('An object was passed where PostgreSQL expects a plain value');
  return String(value);
};
/** `2024-05-06 07:08:09.123+00`, made RFC 3339, because engines differ in how they read anything else. */
const instant: Parse = (text) =>
  new Date(`${text.slice(0, 10)}T${text.slice(11).replace(/([+-]\d\d)$/, '$1:00')}`);
const bytes: Serialize = (value) => {
  if (!(value instanceof Uint8Array)) throw new TypeError('bytea takes a Uint8Array');
  return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
};

const number: Omit<Codec, 'array'> = { parse: Number, serialize: plain };
const string: Omit<Codec, 'array'> = { parse: asIs, serialize: plain };
const json: Omit<Codec, 'array'> = { parse: JSON.parse, serialize: (value) => JSON.stringify(value) };

const CODECS: Record<number, Codec> = {
  16: { parse: (text) => text === 't', serialize: plain, array: 1000 }, // bool
  17: { parse: (text) => new Uint8Array(Buffer.from(text.slice(2), 'hex')), serialize: bytes, array: 1001 }, // bytea
  20: { ...number, array: 1016 }, // int8
  21: { ...number, array: 1005 }, // int2
  23: { ...number, array: 1007 }, // int4
  25: { ...string, array: 1009 }, // text
  26: { ...number, array: 1028 }, // oid
  114: { ...json, array: 199 }, // json
  700: { ...number, array: 1021 }, // float4
  701: { ...number, array: 1022 }, // float8
  1042: { ...string, array: 1014 }, // char(n)
  1043: { ...string, array: 1015 }, // varchar
  1082: { ...string, array: 1182 }, // date
  1114: { parse: (text) => instant(`${text}+00`), serialize: plain, array: 1115 }, // timestamp
  1184: { parse: instant, serialize: plain, array: 1185 }, // timestamptz
  1186: { ...string, array: 1187 }, // interval
  1700: { ...string, array: 1231 }, // numeric
  2950: { ...string, array: 2951 }, // uuid
  3802: { ...json, array: 3807 }, // jsonb
};

/** By type id. */
export const parsers: Record<number, Parse> = {};
export const serializers: Record<number, Serialize> = {};
for (const [id, codec] of Object.entries(CODECS)) {
  parsers[Number(id)] = codec.parse;
  serializers[Number(id)] = codec.serialize;
  parsers[codec.array] = (text) => parseArray(text, codec.parse);
  serializers[codec.array] = (value) => serializeArray(value, codec.serialize);
}

/** Reads an array's text form: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO */
export function parseArray(text: string, parse: Parse): unknown[] {
  // Bounds come first when they don't start at 1: [0:2]={…}
  let at = text.indexOf('{') + 1;
  const list = (): unknown[] => {
    const items: unknown[] = [];
    for (;;) {
      const c = text[at];
      if (c === undefined || c === '}') {
        at++;
        return items;
      }
      if (c === ',') at++;
      else if (c === '{') {
        at++;
        items.push(list());
      } else if (c === '"') {
        let item = '';
        for (at++; text[at] !== '"'; at++) {
          if (text[at] === '\\') at++;
          item += text[at];
        }
        at++;
        items.push(parse(item));
      } else {
        const start = at;
        while (text[at] !== ',' && text[at] !== '}' && at < text.length) at++;
        const item = text.slice(start, at);
        items.push(item === 'NULL' ? null : parse(item));
      }
    }
  };
  return list();
}

function serializeArray(value: unknown, serialize: Serialize): string {
  if (!Array.isArray(value)) return String(value); // the array's own text form
  const items = value.map((item) => {
    if (item === null || item === undefined) return 'NULL';
    if (Array.isArray(item)) return serializeArray(item, serialize);
    return `"${serialize(item).replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  });
  return `{${items.join(',')}}`;
}

/** An undefined parameter is a bug of the caller; drivers differ in what they make of it. */
export function checkParameters(parameters: readonly unknown[]): void {
  const index = parameters.indexOf(undefined);
  if (index >= 0) throw new TypeError(`Parameter $${index + 1} of the statement is undefined; use null`);
}

/** PostgreSQL also counts the rows of a select; Kysely means rows changed. */
export const changesRows = (command: string | undefined): boolean =>
  command === 'INSERT' || command === 'UPDATE' || command === 'DELETE' || command === 'MERGE';

/** A schema, role or service name that is safe in DDL, where parameters are not allowed. */
export function identifier(name: string): string {
  if (!/^[a-z][a-z0-9_]{0,40}$/.test(name)) throw new TypeError(`Not a name for a schema or role: ${name}`);
  return name;
}
