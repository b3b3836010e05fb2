/** The path of a field as a linked list, innermost name first: it is formatted only for a violation. */
export interface FieldPath {
  readonly parent: FieldPath | undefined;
  /** A field name, an index, or a map key as JSON. */
  readonly name: string | number;
}

/** Returns the text of a path, such as `order.items[0].attributes["color"]`. */
export function pathText({ parent, name }: FieldPath): string {
  if (parent === undefined) return String(name);
  const isBracketed = typeof name === "number" || name.startsWith('"');
  return `${pathText(parent)}${isBracketed ? `[${name}]` : `.${name}`}`;
}
