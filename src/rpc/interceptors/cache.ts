import { type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import {
  createContextValues,
  type Interceptor,
  type StreamResponse,
  type UnaryRequest,
  type UnaryResponse,
} from "@connectrpc/connect";
import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Cache, CacheRequest } from "../../infra/cache/cache.ts";
import { contentHash } from "../../kernel/canonical-json.ts";
import type { AppError } from "../../kernel/errors.ts";
import { callKey } from "../call/call-context.ts";
import type { CacheMetadata } from "../call/response-metadata.ts";
import { deadlineExceeded } from "../errors/call-errors.ts";
import { type CachePlan, createCachePlan } from "../policy/cache-plan.ts";
import { durationMs, methodKey } from "../policy/method-policy.ts";

/** The cache of responses, as messages. */
export type ResponseCache = Cache<Message>;

interface CachedMethod {
  plan: CachePlan;
  /** Longest time of a load, in milliseconds. */
  loadTimeoutMs: number;
}

/**
 * Creates the interceptor that responds from the cache, for methods with a cache policy. Handlers are unaware of it,
 * and run only when neither tier has the response. All callers get the same message object that the cache holds.
 * @param cache absent: handlers run each time
 */
export function createCacheInterceptor(
  cache: ResponseCache | undefined,
  policies: ReadonlyMap<string, MethodPolicy>,
): Interceptor {
  const methods = new Map<DescMethod, CachedMethod | undefined>();
  const cachedMethodOf = (method: DescMethod): CachedMethod | undefined => {
    if (!methods.has(method)) methods.set(method, readMethod(method, policies.get(methodKey(method))));
    return methods.get(method);
  };
  return (next) => async (request) => {
    const cached = request.stream ? undefined : cachedMethodOf(request.method);
    if (request.stream || cached === undefined) return next(request);
    const metadata = request.contextValues.get(callKey)?.responseMetadata;
    if (metadata !== undefined) metadata.cache = BYPASS;
    if (cache === undefined) {
      const response = await next(request);
      if (metadata !== undefined) metadata.cache = { ...BYPASS, etag: etagForGet(request, response) };
      return response;
    }
    const found = await findOrLoad(cache, cached, request, next);
    if (metadata !== undefined) metadata.cache = found.metadata;
    if (found.error !== undefined) throw found.error;
    const { service, method } = request;
    // Connect adopts these headers in place of its own, which already have the content type.
    const { header, trailer } = metadata?.handler ?? NO_HEADERS;
    return { stream: false, service, method, header, trailer, message: found.message };
  };
}

/** For calls that failed, and while the cache is off. */
const BYPASS: CacheMetadata = { state: "bypass", etag: "", ageMs: 0 };
/** For the fast path: a cached response has no headers of its own. */
const NO_HEADERS = { header: new Headers(), trailer: new Headers() };

type Next = Parameters<Interceptor>[0];
type CachedResponse = { metadata: CacheMetadata } & (
  | { message: Message; error?: undefined }
  | { error: AppError }
);

async function findOrLoad(
  cache: ResponseCache,
  cached: CachedMethod,
  request: UnaryRequest,
  next: Next,
): Promise<CachedResponse> {
  const { state, entry } = await cache.getOrLoad(new CacheableCall(cached, request, next));
  const metadata = { state, etag: entry.etag, ageMs: Math.max(0, Date.now() - entry.loadedAtMs) };
  const { outcome } = entry;
  return "error" in outcome ? { metadata, error: outcome.error } : { metadata, message: outcome.value };
}

/** A call whose response may be cached. A class, because a cached read uses the key only, and creates nothing else. */
class CacheableCall implements CacheRequest<Message> {
  readonly key: string;
  readonly #cached: CachedMethod;
  readonly #request: UnaryRequest;
  readonly #next: Next;

  constructor(cached: CachedMethod, request: UnaryRequest, next: Next) {
    this.key = cached.plan.keyOf(request.message);
    this.#cached = cached;
    this.#request = request;
    this.#next = next;
  }

  get tags(): readonly string[] {
    return this.#cached.plan.tagsOf(this.#request.message);
  }

  get freshMs(): number {
    return this.#cached.plan.freshMs;
  }

  get staleMs(): number {
    return this.#cached.plan.staleMs;
  }

  get tagsOf(): ((message: Message) => readonly string[]) | undefined {
    return this.#cached.plan.responseTagsOf;
  }

  load(): Promise<Message> {
    return load(this.#request, this.#next, this.#cached.loadTimeoutMs);
  }

  encode(message: Message): Uint8Array {
    return toBinary(this.#request.method.output, message);
  }

  decode(bytes: Uint8Array): Message {
    return fromBinary(this.#request.method.output, bytes);
  }
}

/** Returns the etag of a response to a GET, which may be conditional; empty for POST, which would not use it. */
function etagForGet(request: UnaryRequest, response: UnaryResponse | StreamResponse): string {
  if (request.requestMethod !== "GET" || response.stream) return "";
  return contentHash(toBinary(request.method.output, response.message));
}

/**
 * Runs the handler for all callers who wait for the response, with a signal of its own: the first caller may
 * disconnect.
 */
async function load(request: UnaryRequest, next: Next, timeoutMs: number): Promise<Message> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(deadlineExceeded(timeoutMs)), timeoutMs);
  try {
    const { signal } = controller;
    const response = await next({ ...request, signal, contextValues: createContextValues() });
    if (response.stream) throw new TypeError(`${methodKey(request.method)} streams and cannot be cached`);
    return response.message;
  } finally {
    clearTimeout(timer);
  }
}

function readMethod(method: DescMethod, policy: MethodPolicy | undefined): CachedMethod | undefined {
  if (policy?.cache === undefined) return undefined;
  return { plan: createCachePlan(method, policy.cache), loadTimeoutMs: durationMs(policy.deadline?.max) };
}
