import type { Interceptor } from "@connectrpc/connect";
import { untilAborted } from "./wait.ts";

/** An access token. None: the call is made without. */
export type Token = string | undefined;

/** Sends the token with each try, so that one which expires between tries is replaced. */
export function createAuthorization(token: Token | (() => Token | Promise<Token>)): Interceptor {
  return (next) => async (request) => {
    if (request.header.has("authorization")) return next(request);
    const value = typeof token === "function" ? await untilAborted(request.signal, token()) : token;
    if (!value) return next(request);
    const header = new Headers(request.header);
    header.set("authorization", `Bearer ${value}`);
    return next({ ...request, header });
  };
}
