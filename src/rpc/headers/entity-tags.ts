/** Returns whether an If-None-Match header names the content with this tag, or any content. */
export function matchesEntityTag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch === "*" || parseEntityTags(ifNoneMatch).includes(etag);
}

/** One tag with its quotes. It may contain commas and backslashes. */
const ENTITY_TAG = /(?:W\/)?"([\x21\x23-\x7e\x80-\xff]*)"/y;

/**
 * Returns the tags of an If-None-Match header (RFC 9110, 8.8.3 and 13.1.2), without quotes and without W/, which a weak
 * comparison ignores. None when any part of it is malformed. Takes time linear in its length.
 */
export function parseEntityTags(list: string): string[] {
  const tags: string[] = [];
  let isSeparated = true;
  for (let position = 0; position < list.length; ) {
    const char = list[position];
    if (char === " " || char === "\t" || char === ",") {
      isSeparated ||= char === ",";
      position += 1;
      continue;
    }
    ENTITY_TAG.lastIndex = position;
    const tag = isSeparated ? ENTITY_TAG.exec(list)?.[1] : undefined;
    if (tag === undefined) return [];
    tags.push(tag);
    isSeparated = false;
    position = ENTITY_TAG.lastIndex;
  }
  return tags;
}
