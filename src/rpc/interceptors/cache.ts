import { type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  createContextValues,
  type Interceptor,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Cache } from "../../infra/cache/cache.ts";
import { contentHash } from "../../kernel/canonical-json.ts";
import type { AppError } from "../../kernel/errors.ts";
import { type CacheNote, callKey, deadlinePassed } from "../call/active-call.ts";
import { type CachePlan, createCachePlan } from "../policy/cache-plan.ts";
import { durationMs, methodKey } from "../policy/method-policy.ts";

/** Answers of all methods, as the messages that are sent. */
export type AnswerCache = Cache<Message>;

interface CachedMethod {
  plan: CachePlan;
  /** How long an answer may take to make. */
  limitMs: number;
}

/**
 * Answers from the cache, for methods whose policy declares one: handlers know nothing of it, and are asked
 * only when neither tier has the answer. The message is the very one that is kept, for all who ask.
 * @param cache absent: handlers are asked each time
 */
export function createCacheInterceptor(
  cache: AnswerCache | undefined,
  policies: ReadonlyMap<string, MethodPolicy>,
): Interceptor {
  const methods = new Map<DescMethod, CachedMethod | undefined>();
  const find = (method: DescMethod): CachedMethod | undefined => {
    if (!methods.has(method)) methods.set(method, readMethod(method, policies.get(methodKey(method))));
    return methods.get(method);
  };
  return (next) => async (request) => {
    const cached = request.stream ? undefined : find(request.method);
    if (request.stream || cached === undefined) return next(request);
    const call = request.contextValues.get(callKey);
    if (call !== undefined) call.cached = BYPASS;
    if (cache === undefined) {
      const response = await next(request);
      if (call !== undefined) call.cached = { ...BYPASS, etag: tagOf(request, response) };
      return response;
    }
    const found = await kept(cache, cached, request, next);
    if (call !== undefined) call.cached = found.note;
    if (found.error !== undefined) throw found.error;
    const { service, method } = request;
    // Connect takes over whatever is in these, and forgets what it had there, its content type for one.
    const { header, trailer } = call?.answer ?? BARE;
    return { stream: false, service, method, header, trailer, message: found.message };
  };
}

/** Of calls that nothing else is known of: they failed, or there is no cache. */
const BYPASS: CacheNote = { state: "bypass", etag: "", ageMs: 0 };
/** Kept answers are messages and nothing else. */
const BARE = { header: new Headers(), trailer: new Headers() };

type Next = Parameters<Interceptor>[0];
type Answer = { note: CacheNote } & ({ message: Message; error?: undefined } | { error: AppError });

async function kept(
  cache: AnswerCache,
  { plan, limitMs }: CachedMethod,
  request: UnaryRequest,
  next: Next,
): Promise<Answer> {
  const { output } = request.method;
  const { state, entry } = await cache.getOrLoad({
    key: plan.keyOf(request.message),
    tags: plan.tagsOf(request.message),
    freshMs: plan.freshMs,
    staleMs: plan.staleMs,
    load: () => loadForAll(request, next, limitMs),
    encode: (message) => toBinary(output, message),
    decode: (bytes) => fromBinary(output, bytes),
  });
  const note = { state, etag: entry.etag, ageMs: Math.max(0, Date.now() - entry.loadedAtMs) };
  const { outcome } = entry;
  return "error" in outcome ? { note, error: outcome.error } : { note, message: outcome.value };
}

/** Names the content for a GET, which may ask whether it has changed; for others it would be work for nothing. */
function tagOf(request: UnaryRequest, response: UnaryResponse | StreamResponse): string {
  if (request.requestMethod !== "GET" || response.stream) return "";
  return contentHash(toBinary(request.method.output, response.message));
}

/** Asks the handler on behalf of all who wait: the caller who was first may leave, and have little time. */
async function loadForAll(request: UnaryRequest, next: Next, limitMs: number): Promise<Message> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(deadlinePassed(limitMs)), limitMs);
  try {
    const { signal } = controller;
    return await messageOf(next({ ...request, signal, contextValues: createContextValues() }));
  } finally {
    clearTimeout(timer);
  }
}

async function messageOf(answer: ReturnType<Next>): Promise<Message> {
  const response = await answer;
  if (response.stream) throw new Error(`${response.method.name} streams, and cannot be cached`);
  return response.message;
}

function readMethod(method: DescMethod, policy: MethodPolicy | undefined): CachedMethod | undefined {
  if (policy?.cache === undefined) return undefined;
  return { plan: createCachePlan(method, policy.cache), limitMs: durationMs(policy.deadline?.max) };
}
