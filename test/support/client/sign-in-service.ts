import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { CatalogService } from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { IdentityService } from "../../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { listen } from "./flaky-proxy.ts";

interface State {
  /** Lifetime of new access tokens, in milliseconds. */
  lifetimeMs: number;
  /** Access tokens up to this number have expired. */
  expiredUpTo: number;
  /** The error of refreshes, if they fail. */
  refreshError?: ConnectError;
  /** Refreshes wait for it. */
  refreshBarrier?: Promise<unknown>;
  hasEnded: boolean;
  /** Number of token pairs issued. */
  issued: number;
  /** Refresh tokens of all refreshes. */
  refreshes: string[];
  /** Authorization headers of all calls. */
  authorizations: (string | null)[];
}

/** The sessions of the service without its stores: tokens are `a<n>` and `r<n>`, and reuse ends the session. */
export interface SignInService {
  state: State;
  url: string;
  /** The same over HTTP/2. */
  http2Url: string;
  close(): void;
}

/** Returns an error as the service sends it. */
export function serviceError(reason: string, code = Code.Unauthenticated): ConnectError {
  const info = { desc: ErrorInfoSchema, value: { reason, domain: "cartwright" } };
  return new ConnectError(`Test error ${reason}.`, code, undefined, [info]);
}

/** Starts the service on two free ports. */
export async function startSignInService(): Promise<SignInService> {
  const state: State = {
    lifetimeMs: 600_000,
    expiredUpTo: 0,
    hasEnded: false,
    issued: 0,
    refreshes: [],
    authorizations: [],
  };
  const routes = createRoutes(state);
  const server = createServer(connectNodeAdapter({ routes }));
  const http2Server = createHttp2Server(connectNodeAdapter({ routes }));
  const [url, http2Url] = await Promise.all([listen(server), listen(http2Server)]);
  return {
    state,
    url,
    http2Url,
    close: () => {
      server.closeAllConnections();
      server.close();
      http2Server.close();
    },
  };
}

function createRoutes(state: State): (router: ConnectRouter) => void {
  const issueTokens = () => {
    state.issued += 1;
    const accessTokenExpireTime = timestampFromMs(Date.now() + state.lifetimeMs);
    return { accessToken: `a${state.issued}`, refreshToken: `r${state.issued}`, accessTokenExpireTime };
  };
  const authenticate = ({ requestHeader }: HandlerContext) => {
    const authorization = requestHeader.get("authorization");
    state.authorizations.push(authorization);
    const [, number] = /^Bearer a(\d+)$/.exec(authorization ?? "") ?? [];
    if (number === undefined) return;
    if (state.hasEnded) throw serviceError("SESSION_ENDED");
    if (Number(number) <= state.expiredUpTo) throw serviceError("TOKEN_EXPIRED");
  };
  const startSession = (_: unknown, context: HandlerContext) => {
    authenticate(context);
    state.hasEnded = false;
    return { account: { email: "ann@example.com" }, tokens: issueTokens() };
  };
  return (router) =>
    router
      .service(IdentityService, {
        register: startSession,
        signIn: startSession,
        async refreshSession({ refreshToken }, context) {
          authenticate(context);
          state.refreshes.push(refreshToken);
          await state.refreshBarrier;
          if (state.refreshError !== undefined) throw state.refreshError;
          if (refreshToken !== `r${state.issued}`) state.hasEnded = true;
          if (state.hasEnded) throw serviceError("SESSION_ENDED");
          return { tokens: issueTokens() };
        },
        signOut(_, context) {
          authenticate(context);
          state.hasEnded = true;
          return {};
        },
        changePassword(_, context) {
          authenticate(context);
          throw serviceError("PASSWORD_WRONG");
        },
      })
      .service(CatalogService, {
        listBrands(_, context) {
          authenticate(context);
          return {};
        },
        async importProducts(requests, context) {
          authenticate(context);
          for await (const _ of requests);
          return {};
        },
      });
}
