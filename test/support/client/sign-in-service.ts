import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { CatalogService } from "../../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { IdentityService } from "../../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { ErrorInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { listen } from "./flaky-proxy.ts";

function refused(reason: string, code = Code.Unauthenticated): ConnectError {
  const info = { desc: ErrorInfoSchema, value: { reason, domain: "cartwright" } };
  return new ConnectError(`${reason}, as the test says.`, code, undefined, [info]);
}

interface State {
  /** How long access tokens are said to last, milliseconds. */
  lifeMs: number;
  /** Access tokens up to this one have expired. */
  expired: number;
  /** Why refreshes are refused. */
  refusal?: ConnectError;
  /** Refreshes wait for it. */
  hold?: Promise<unknown>;
  hasEnded: boolean;
  issued: number;
  /** The refresh tokens that were sent. */
  refreshes: string[];
  /** The Authorization headers of all calls. */
  shown: (string | null)[];
}

/** The sign-ins of a shop, without the shop: tokens are `a<n>` and `r<n>`, and a spent one ends its session. */
export async function startSignInService() {
  const state: State = { lifeMs: 600_000, expired: 0, hasEnded: false, issued: 0, refreshes: [], shown: [] };

  const issue = () => {
    state.issued += 1;
    const accessTokenExpireTime = timestampFromMs(Date.now() + state.lifeMs);
    return { accessToken: `a${state.issued}`, refreshToken: `r${state.issued}`, accessTokenExpireTime };
  };
  const begin = (_: unknown, context: HandlerContext) => {
    check(context);
    state.hasEnded = false;
    return { account: { email: "ann@example.com" }, tokens: issue() };
  };
  const check = ({ requestHeader }: HandlerContext) => {
    const shown = requestHeader.get("authorization");
    state.shown.push(shown);
    const [, number] = /^Bearer a(\d+)$/.exec(shown ?? "") ?? [];
    if (number === undefined) return;
    if (state.hasEnded) throw refused("SESSION_ENDED");
    if (Number(number) <= state.expired) throw refused("TOKEN_EXPIRED");
  };

  const routes = (router: ConnectRouter) =>
    router
      .service(IdentityService, {
        register: begin,
        signIn: begin,
        async refreshSession({ refreshToken }, context) {
          check(context);
          state.refreshes.push(refreshToken);
          await state.hold;
          if (state.refusal !== undefined) throw state.refusal;
          if (refreshToken !== `r${state.issued}`) state.hasEnded = true;
          if (state.hasEnded) throw refused("SESSION_ENDED");
          return { tokens: issue() };
        },
        signOut(_, context) {
          check(context);
          state.hasEnded = true;
          return {};
        },
        changePassword(_, context) {
          check(context);
          throw refused("PASSWORD_WRONG");
        },
      })
      .service(CatalogService, {
        listBrands(_, context) {
          check(context);
          return {};
        },
        async importProducts(requests, context) {
          check(context);
          for await (const _ of requests);
          return {};
        },
      });

  const server = createServer(connectNodeAdapter({ routes }));
  const http2 = createHttp2Server(connectNodeAdapter({ routes }));
  const [url, http2Url] = await Promise.all([listen(server), listen(http2)]);
  return {
    ...{ state, url, http2Url, refused },
    close: () => {
      server.closeAllConnections();
      server.close();
      http2.close();
    },
  };
}
