import {
  clearField,
  type DescField,
  type DescMessage,
  getOption,
  isFieldSet,
  isMessage,
  type Message,
} from "@bufbuild/protobuf";
import { type FieldMask, FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { FieldBehavior, field_behavior } from "../../../gen/google/api/field_behavior_pb.ts";
import { invalidField } from "../../kernel/errors.ts";

/** Clears the output-only fields of a message. */
type Clear = (message: Message) => void;
type ClearValue = (value: unknown) => void;

/** By request type; undefined for the types without output-only fields, which are most. */
const clears = new Map<DescMessage, Clear | undefined>();

/**
 * Clears the OUTPUT_ONLY fields of a request and removes their paths from its update_mask (AIP-203). Each request type
 * is compiled once; types without such fields cost one lookup.
 * @throws AppError invalid_argument when the update_mask names nothing else
 */
export function clearOutputOnlyFields(request: DescMessage, message: Message): void {
  if (!clears.has(request)) clears.set(request, compileRequest(request));
  clears.get(request)?.(message);
}

function compileRequest(request: DescMessage): Clear | undefined {
  const clear = compileMessage(request, new Map());
  const clearMask = compileMask(request);
  if (clear === undefined || clearMask === undefined) return clear;
  return (message) => {
    clear(message);
    clearMask(message);
  };
}

function isOutputOnly(field: DescField): boolean {
  return getOption(field, field_behavior).includes(FieldBehavior.OUTPUT_ONLY);
}

/** @param compiled the message types that are compiled or being compiled, because a message can contain itself */
function compileMessage(
  schema: DescMessage,
  compiled: Map<DescMessage, Clear | undefined>,
): Clear | undefined {
  if (compiled.has(schema)) return compiled.get(schema);
  const steps: Clear[] = [];
  const clear: Clear = (message) => {
    for (const step of steps) step(message);
  };
  compiled.set(schema, clear);
  for (const field of schema.fields) {
    if (isOutputOnly(field)) {
      steps.push((message) => {
        if (isFieldSet(message, field)) clearField(message, field);
      });
      continue;
    }
    const inner = field.message && compileMessage(field.message, compiled);
    if (inner !== undefined) steps.push(clearWithin(field, inner));
  }
  if (steps.length > 0) return clear;
  compiled.set(schema, undefined);
  return undefined;
}

function clearWithin(field: DescField, clear: Clear): Clear {
  const clearValue: ClearValue = (value) => {
    if (isMessage(value)) clear(value);
  };
  if (field.fieldKind === "list" || field.fieldKind === "map") {
    return (message) => {
      for (const item of Object.values(Object(Reflect.get(message, field.localName)))) clearValue(item);
    };
  }
  const { oneof } = field;
  if (oneof === undefined) return (message) => clearValue(Reflect.get(message, field.localName));
  return (message) => {
    const chosen: { case?: string; value?: unknown } = Reflect.get(message, oneof.localName);
    if (chosen.case === field.localName) clearValue(chosen.value);
  };
}

/** An update_mask belongs to the resource in the same request, its only other message (AIP-134). */
function compileMask(request: DescMessage): Clear | undefined {
  const mask = request.fields.find(({ name }) => name === "update_mask");
  const resource = request.fields.find(({ message }) => message !== undefined && message !== mask?.message);
  if (mask?.message?.typeName !== FieldMaskSchema.typeName || resource?.message === undefined)
    return undefined;
  const schema = resource.message;
  return (message) => {
    const value: FieldMask | undefined = Reflect.get(message, mask.localName);
    if (value === undefined || value.paths.length === 0) return;
    value.paths = value.paths.filter((path) => !isOutputOnlyPath(schema, path));
    // An empty mask selects all fields that are set, which the caller did not request.
    if (value.paths.length === 0)
      throw invalidField(mask.name, "names output-only fields only. Name a field to change.");
  };
}

function isOutputOnlyPath(schema: DescMessage, path: string): boolean {
  const [name = "", ...rest] = path.split(".");
  const field = schema.fields.find((candidate) => candidate.name === name);
  if (field === undefined) return false;
  if (isOutputOnly(field)) return true;
  return field.message !== undefined && rest.length > 0 && isOutputOnlyPath(field.message, rest.join("."));
}
