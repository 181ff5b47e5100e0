import { answerParent } from './child-side.ts';

/** The child of child.test.ts: does what it is told, good or bad. */
answerParent(async ({ act, bytes }: { act: string; bytes?: Uint8Array }) => {
  switch (act) {
    case 'echo':
      return bytes;
    case 'environment':
      console.log('chatter on standard output');
      return Object.keys(process.env);
    case 'refuse':
      throw new Error('no');
    case 'spin':
      for (;;);
    case 'exit':
      process.exit(3);
      break;
    case 'grow': {
      const kept: Uint8Array[] = [];
      for (;;) {
        kept.push(new Uint8Array(16_000_000).fill(kept.length + 1));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }
  return act;
});
