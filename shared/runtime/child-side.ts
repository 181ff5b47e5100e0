import { deserialize, serialize } from 'node:v8';
import type { ChildAnswer } from './child.ts';
import { frame, readFrames } from './frames.ts';

/**
 * The other end of a ChildWorker: answers each input with what `work` makes of it, one at a time, until the
 * parent lets go of the pipe (or dies).
 */
export function answerParent<I, O>(work: (input: I) => Promise<O>): void {
  const { stdin, stdout } = process;
  // Standard output carries the answers: a library's chatter must not get between them.
  console.log = console.info = console.debug = console.error;
  let queue: Promise<void> = Promise.resolve();
  const answer = (value: ChildAnswer) => void stdout.write(frame(serialize(value)));

  readFrames(stdin, (bytes) => {
    const input = deserialize(Buffer.from(bytes)) as I;
    queue = queue.then(() =>
      work(input).then(
        (value) => answer({ ok: true, value }),
        (error) => answer({ ok: false, error: error instanceof Error ? error.message : String(error) }),
      ),
    );
  });
  answer({ ready: true });
  stdin.on('end', () => process.exit(0));
  // Ctrl-C in a terminal reaches the whole group; the parent drains first and then lets go.
  process.on('SIGINT', () => {});
}
