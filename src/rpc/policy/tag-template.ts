import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { isReflectMessage, type ReflectMessage } from "@bufbuild/protobuf/reflect";

/** A cache tag with the path of a field: `product:{products.id}` is "product:", products and id; `catalog` has no path. */
export interface TagTemplate {
  readonly prefix: string;
  /** The fields from the message to the value. All but the last are messages; each may be repeated. */
  readonly path: readonly DescField[];
}

const TEMPLATE = /^([^{}]*)(?:\{([^{}]*)\})?$/;

/** Parses a valid tag template. */
export function parseTagTemplate(message: DescMessage, tag: string): TagTemplate {
  const [, prefix = tag, names] = TEMPLATE.exec(tag) ?? [];
  return { prefix, path: (names === undefined ? undefined : findPath(message, names)) ?? [] };
}

/** Returns the mistake in a tag template; undefined if it is valid. */
export function tagTemplateError(message: DescMessage, tag: string): string | undefined {
  const parsed = TEMPLATE.exec(tag);
  if (parsed === null) return `${tag} has more than a placeholder at its end`;
  const names = parsed[2];
  if (names === undefined || findPath(message, names) !== undefined) return undefined;
  return `{${names}} is not a field of ${message.typeName}`;
}

/** Returns the tags of templates: one for each value at the path, none for a value that is not set. */
export function expandTagTemplates(templates: readonly TagTemplate[], message: ReflectMessage): string[] {
  // Ids are case-insensitive, and writers invalidate tags in lower case.
  return templates.flatMap(({ prefix, path }) =>
    path.length === 0
      ? [prefix]
      : valuesAt(message, path).map((value) => `${prefix}${String(value).toLowerCase()}`),
  );
}

function findPath(message: DescMessage, names: string): DescField[] | undefined {
  const path: DescField[] = [];
  let current: DescMessage | undefined = message;
  for (const name of names.split(".")) {
    const field: DescField | undefined = current?.fields.find((one) => one.name === name);
    if (field === undefined || field.fieldKind === "map") return undefined;
    path.push(field);
    current = field.message;
  }
  const last = path.at(-1);
  return last?.scalar === undefined || last.scalar === ScalarType.BYTES ? undefined : path;
}

function valuesAt(message: ReflectMessage, [field, ...rest]: readonly DescField[]): unknown[] {
  if (field === undefined || !message.isSet(field)) return [];
  const values: unknown[] = field.fieldKind === "list" ? [...message.get(field)] : [message.get(field)];
  if (rest.length === 0) return values;
  return values.flatMap((value) => (isReflectMessage(value) ? valuesAt(value, rest) : []));
}
