import { createHash, hash } from "node:crypto";
import { type DescField, type DescFile, type DescMethod, type Message, toBinary } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Cache } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { durationMs, methodKey } from "./method-policy.ts";

/** How a method's answers are cached, read from its policy once. Times are milliseconds. */
export interface CachePlan {
  readonly freshMs: number;
  readonly staleMs: number;
  /** The same for requests that ask the same: the method, who may see the answer, and the request. */
  keyOf(request: Message): string;
  /** What the answer to a request is made of. */
  tagsOf(request: Message): readonly string[];
}

/** Cached methods are for everyone, which the policies are held to: all viewers are of one class. */
const VIEWER_CLASS = "public";

/** Reads the cache part of a method's policy. */
export function createCachePlan(method: DescMethod, cache: Cache): CachePlan {
  const templates = cache.tags.map((tag) => parseTemplate(method, tag));
  const isConstant = templates.every(({ field }) => field === undefined);
  const constant = templates.map(({ text }) => text);
  const name = Buffer.from(`${methodKey(method)}/${VIEWER_CLASS}/${contractOf(method)}/`);
  return {
    freshMs: durationMs(cache.freshFor),
    staleMs: durationMs(cache.staleWhileRevalidate),
    keyOf(request) {
      // Fields that this server does not know change nothing of its answer.
      const bytes = toBinary(method.input, request, { writeUnknownFields: false });
      // At once: an object for each hash is more work, for the collector too, than the hashing.
      return hash("sha256", Buffer.concat([name, bytes]), "base64url");
    },
    tagsOf(request) {
      if (isConstant) return constant;
      const message = reflect(method.input, request);
      return templates.flatMap((template) => fill(template, message));
    },
  };
}

/** A tag with a gap: `product:{id}` is "product:" and the field id; `catalog` has no field. */
interface Template {
  text: string;
  field: DescField | undefined;
}

function parseTemplate(method: DescMethod, tag: string): Template {
  const [, text = tag, name] = /^([^{]*)\{([^}]*)\}$/.exec(tag) ?? [];
  return { text, field: method.input.fields.find((field) => field.name === name) };
}

/** The tags of a template: none when the field is not set, one for each of its values. */
function fill({ text, field }: Template, message: ReflectMessage): string[] {
  if (field === undefined) return [text];
  if (!message.isSet(field)) return [];
  const values = field.fieldKind === "list" ? [...message.get(field)] : [message.get(field)];
  // Ids mean the same in upper case; writers name their tags in lower case too.
  return values.map((value) => `${text}${String(value).toLowerCase()}`);
}

/**
 * A fingerprint of the contract that the method's messages are of. Replicas of two versions may share a Redis
 * while one follows the other, and an answer of the old one lacks what is new.
 */
function contractOf(method: DescMethod): string {
  const contract = createHash("sha256");
  const seen = new Set<DescFile>();
  const add = (file: DescFile): void => {
    if (seen.has(file)) return;
    seen.add(file);
    contract.update(toBinary(FileDescriptorProtoSchema, file.proto));
    file.dependencies.forEach(add);
  };
  add(method.parent.file);
  return contract.digest("base64url").slice(0, 8);
}
