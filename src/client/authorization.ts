import { type DescMethod, isMessage } from "@bufbuild/protobuf";
import { Code, type Interceptor, type StreamRequest, type UnaryRequest } from "@connectrpc/connect";
import {
  IdentityService,
  SignOutRequestSchema,
} from "../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { errorDetails } from "./errors.ts";
import type { SessionTokens } from "./session.ts";
import { rejectOnAbort } from "./wait.ts";

/** An access token or API key. Without one, calls are anonymous. */
export type Token = string | undefined;

/**
 * Creates the interceptor that sends a token with each attempt: that of the session or, without a session, the given
 * one. If the service rejects the session's token, the call is repeated once with the next token; streams cannot be
 * repeated.
 */
export function createAuthorizationInterceptor(
  given: Token | (() => Token | Promise<Token>),
  session: SessionTokens,
): Interceptor {
  return (next) => async (request) => {
    if (request.header.has("authorization") || carriesCredentials(request)) return next(request);
    const sessionToken = await rejectOnAbort(request.signal, session.getAccessToken());
    if (sessionToken === undefined) {
      const token = typeof given === "function" ? await rejectOnAbort(request.signal, given()) : given;
      return next(token ? withToken(request, token) : request);
    }
    try {
      return await next(withToken(request, sessionToken));
    } catch (error) {
      if (request.stream || !isTokenRejected(error)) throw error;
      const replacement = await rejectOnAbort(request.signal, session.replaceAccessToken(sessionToken));
      if (replacement === undefined) throw error;
      return next(withToken(request, replacement));
    }
  };
}

const { register, signIn, refreshSession, signOut } = IdentityService.method;
const credentialMethods: ReadonlySet<DescMethod> = new Set([register, signIn, refreshSession]);

/** Returns whether a request contains a password or refresh token. An expired access token beside it would fail the call. */
function carriesCredentials(request: UnaryRequest | StreamRequest): boolean {
  if (credentialMethods.has(request.method)) return true;
  if (request.method !== signOut || !isMessage(request.message, SignOutRequestSchema)) return false;
  return request.message.refreshToken !== "";
}

/** Returns whether the service has rejected the access token: it has expired, or its session has ended. */
function isTokenRejected(error: unknown): boolean {
  const { code, reason } = errorDetails(error);
  return code === Code.Unauthenticated && reason !== "PASSWORD_WRONG";
}

function withToken<Request extends UnaryRequest | StreamRequest>(request: Request, token: string): Request {
  const header = new Headers(request.header);
  header.set("authorization", `Bearer ${token}`);
  return { ...request, header };
}
