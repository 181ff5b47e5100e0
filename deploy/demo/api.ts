/** A caller of the public API, as any client would be: JSON, a bearer token, idempotency keys. */
export class Api {
  constructor(
    readonly url: string,
    readonly token?: string,
  ) {}

  /** The same API as a signed-in user. */
  as(token: string): Api {
    return new Api(this.url, token);
  }

  get = (path: string) => this.call('GET', path);
  put = (path: string, body?: unknown) => this.call('PUT', path, body);
  patch = (path: string, body: unknown) => this.call('PATCH', path, body);
  delete = (path: string) => this.call('DELETE', path);
  /** `key` makes it safe to say again: the first reply is given. */
  post = (path: string, body?: unknown, key?: string) =>
    this.call('POST', path, body, key ? { 'idempotency-key': key } : {});

  upload(path: string, bytes: Uint8Array, type: string, key: string): Promise<ApiReply> {
    return this.send('POST', path, bytes as BodyInit, { 'content-type': type, 'idempotency-key': key });
  }

  private call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<ApiReply> {
    if (body === undefined) return this.send(method, path, undefined, headers);
    return this.send(method, path, JSON.stringify(body), { 'content-type': 'application/json', ...headers });
  }

  private async send(
    method: string,
    path: string,
    body: BodyInit | undefined,
    headers: Record<string, string>,
  ): Promise<ApiReply> {
    for (let attempt = 1; ; attempt++) {
      const response = await fetch(this.url + path, {
        method,
        headers: { ...headers, ...(this.token ? { authorization: `Bearer ${this.token}` } : {}) },
        ...(body === undefined ? {} : { body }),
      });
      const text = await response.text();
      const retryAfter = Number(response.headers.get('retry-after') ?? 0);
      if ((response.status === 503 || response.status === 429) && attempt < 20) {
        await new Promise((resolve) => setTimeout(resolve, Math.max(0.2, retryAfter) * 1000));
        continue;
      }
      const json =
        text && /\bjson\b/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : undefined;
      return { status: response.status, body: json };
    }
  }
}

export interface ApiReply {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: replies of many routes; the contract's schemas check them on the server
  body: any;
}

/** The body of a reply that must have succeeded. Throws with the problem's code otherwise. */
export async function must(reply: Promise<ApiReply>, what: string): Promise<ApiReply['body']> {
  const { status, body } = await reply;
  if (status >= 400) throw new Error(`${what}: ${status} ${body?.code ?? ''} ${body?.detail ?? ''}`);
  return body;
}

/** Asks until `find` gives something: what follows an event is there a moment later. */
export async function eventually<T>(
  what: string,
  find: () => Promise<T | undefined>,
  deadlineMs = 20_000,
): Promise<T> {
  for (const started = Date.now(); ; ) {
    const found = await find();
    if (found !== undefined) return found;
    if (Date.now() - started > deadlineMs)
      throw new Error(`${what} did not come within ${deadlineMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
