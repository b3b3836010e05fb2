import { type DescMethod, isMessage } from "@bufbuild/protobuf";
import { Code, type Interceptor, type StreamRequest, type UnaryRequest } from "@connectrpc/connect";
import {
  IdentityService,
  SignOutRequestSchema,
} from "../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { errorDetails } from "./errors.ts";
import type { SessionTokens } from "./session.ts";
import { untilAborted } from "./wait.ts";

/** An access token or API key. None: the call is made without. */
export type Token = string | undefined;

/**
 * Sends a token with each try, so that one which expires between tries is replaced: that of the session or,
 * while nobody has signed in, the one that was given. A call whose token of the session is refused
 * is made once more with the next one, unless it is a stream, which cannot be sent twice.
 */
export function createAuthorization(
  given: Token | (() => Token | Promise<Token>),
  session: SessionTokens,
): Interceptor {
  return (next) => async (request) => {
    if (request.header.has("authorization") || showsItself(request)) return next(request);
    const own = await untilAborted(request.signal, session.accessToken());
    if (own === undefined) {
      const value = typeof given === "function" ? await untilAborted(request.signal, given()) : given;
      return next(value ? withToken(request, value) : request);
    }
    try {
      return await next(withToken(request, own));
    } catch (error) {
      if (request.stream || !isTokenRefused(error)) throw error;
      const replaced = await untilAborted(request.signal, session.replace(own));
      if (replaced === undefined) throw error;
      return next(withToken(request, replaced));
    }
  };
}

const { register, signIn, refreshSession, signOut } = IdentityService.method;
const beforeTokens: ReadonlySet<DescMethod> = new Set([register, signIn, refreshSession]);

/** Who signs in, or shows a refresh token, is not asked for an access token, and an old one would be refused. */
function showsItself(request: UnaryRequest | StreamRequest): boolean {
  if (beforeTokens.has(request.method)) return true;
  if (request.method !== signOut || !isMessage(request.message, SignOutRequestSchema)) return false;
  return request.message.refreshToken !== "";
}

/** The token has expired, or its session has ended, which the refresh then shows. */
function isTokenRefused(error: unknown): boolean {
  const { code, reason } = errorDetails(error);
  return code === Code.Unauthenticated && reason !== "PASSWORD_WRONG";
}

function withToken<Request extends UnaryRequest | StreamRequest>(request: Request, token: string): Request {
  const header = new Headers(request.header);
  header.set("authorization", `Bearer ${token}`);
  return { ...request, header };
}
