/** Flat: name in lower case, value, name, value, … in the order they came. */
export type HeaderList = string[];
/** The same, perhaps used for several messages at once. */
export type SharedHeaderList = readonly string[];

/** The value of the first header of that (lower-case) name. */
export function headerOf(list: SharedHeaderList, name: string): string | undefined {
  for (let index = 0; index < list.length; index += 2) if (list[index] === name) return list[index + 1];
  return undefined;
}

/** How many lines have that (lower-case) name. */
export function countOf(list: SharedHeaderList, name: string): number {
  let count = 0;
  for (let index = 0; index < list.length; index += 2) if (list[index] === name) count++;
  return count;
}

/** Takes every line of that (lower-case) name out of the list itself. */
export function removeHeader(list: HeaderList, name: string): void {
  let kept = 0;
  for (let index = 0; index < list.length; index += 2) {
    if (list[index] === name) continue;
    list[kept] = list[index]!;
    list[kept + 1] = list[index + 1]!;
    kept += 2;
  }
  list.length = kept;
}
