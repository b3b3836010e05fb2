import { createHash, hash } from "node:crypto";
import { type DescField, type DescFile, type DescMethod, type Message, toBinary } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Cache } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { durationMs, methodKey } from "./method-policy.ts";

/** The cache policy of a method, read once. Times are in milliseconds. */
export interface CachePlan {
  readonly freshMs: number;
  readonly staleMs: number;
  /**
   * Returns the key of a request: a hash of the method and its contract, followed by the request. For a long request it
   * is a hash of all three.
   */
  keyOf(request: Message): string;
  /** Returns the tags whose invalidation drops the response to a request. */
  tagsOf(request: Message): readonly string[];
}

/** Part of each key. The policy check allows a cache on public methods only, whose responses are the same for all. */
const AUDIENCE = "public";
/** The largest request that is part of its key as it is, in bytes: hashing it would take 2 us of a cached read. */
const MAX_PLAIN_BYTES = 96;

/** Creates the plan of a method from the cache part of its policy. */
export function createCachePlan(method: DescMethod, cache: Cache): CachePlan {
  const templates = cache.tags.map((tag) => parseTemplate(method, tag));
  const isConstant = templates.every(({ field }) => field === undefined);
  const constantTags = templates.map(({ prefix }) => prefix);
  const keyPrefix = Buffer.from(`${methodKey(method)}/${AUDIENCE}/${contractFingerprint(method)}/`);
  // A period is no character of base64url: the keys of the two forms differ.
  const plainPrefix = `${hash("sha256", keyPrefix, "base64url")}.`;
  return {
    freshMs: durationMs(cache.freshFor),
    staleMs: durationMs(cache.staleWhileRevalidate),
    keyOf(request) {
      // Unknown fields do not change the response.
      const bytes = toBinary(method.input, request, { writeUnknownFields: false });
      if (bytes.length <= MAX_PLAIN_BYTES) {
        return plainPrefix + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64url");
      }
      // The one-shot function: a Hash object costs more than the hashing, in garbage too.
      return hash("sha256", Buffer.concat([keyPrefix, bytes]), "base64url");
    },
    tagsOf(request) {
      if (isConstant) return constantTags;
      const message = reflect(method.input, request);
      return templates.flatMap((template) => expandTemplate(template, message));
    },
  };
}

/** A tag with a placeholder: `product:{id}` is "product:" and the field id; `catalog` has no field. */
interface TagTemplate {
  prefix: string;
  field: DescField | undefined;
}

function parseTemplate(method: DescMethod, tag: string): TagTemplate {
  const [, prefix = tag, name] = /^([^{]*)\{([^}]*)\}$/.exec(tag) ?? [];
  return { prefix, field: method.input.fields.find((field) => field.name === name) };
}

/** Returns the tags of a template: one for each value of its field, none when the field is not set. */
function expandTemplate({ prefix, field }: TagTemplate, message: ReflectMessage): string[] {
  if (field === undefined) return [prefix];
  if (!message.isSet(field)) return [];
  const values = field.fieldKind === "list" ? [...message.get(field)] : [message.get(field)];
  // Ids are case-insensitive, and writers invalidate tags in lower case.
  return values.map((value) => `${prefix}${String(value).toLowerCase()}`);
}

/**
 * Returns a fingerprint of the files that define the method's messages. During a rolling update replicas of two
 * versions share a Redis, and a response of the old one lacks the new fields.
 */
function contractFingerprint(method: DescMethod): string {
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
