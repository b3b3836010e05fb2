import { createHash, hash } from "node:crypto";
import { type DescFile, type DescMethod, type Message, toBinary } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Cache } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { durationMs, methodKey } from "./method-policy.ts";
import { expandTagTemplates, parseTagTemplate } from "./tag-template.ts";

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
  /** Returns further tags, of the resources that a response shows; absent if there are none. */
  responseTagsOf: ((response: Message) => readonly string[]) | undefined;
}

/** Part of each key. The policy check allows a cache on public methods only, whose responses are the same for all. */
const AUDIENCE = "public";
/** The largest request that is part of its key as it is, in bytes: hashing it would take 2 us of a cached read. */
const MAX_PLAIN_BYTES = 96;

/** Creates the plan of a method from the cache part of its policy. */
export function createCachePlan(method: DescMethod, cache: Cache): CachePlan {
  const templates = cache.tags.map((tag) => parseTagTemplate(method.input, tag));
  const responseTemplates = cache.responseTags.map((tag) => parseTagTemplate(method.output, tag));
  const isConstant = templates.every(({ path }) => path.length === 0);
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
      return expandTagTemplates(templates, reflect(method.input, request));
    },
    responseTagsOf:
      responseTemplates.length === 0
        ? undefined
        : (response) => expandTagTemplates(responseTemplates, reflect(method.output, response)),
  };
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
