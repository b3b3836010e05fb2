import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  type AccountSchema,
  type ApiKeySchema,
  Role,
  type SessionSchema,
  type TokensSchema,
} from "../../gen/cartwright/identity/v1/identity_pb.ts";
import type { IdentityService } from "../../gen/cartwright/identity/v1/identity_service_pb.ts";
import { Scope, ScopeSchema } from "../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Account, ApiKey, Identity, Session, TokenPair } from "./identity.ts";

/** Creates the handlers of IdentityService. */
export function identityRpc(identity: Identity, getCall: (context: HandlerContext) => Call) {
  return {
    async register({ email, name, password }, context) {
      const { account, tokens } = await identity.register(getCall(context), { email, name, password });
      return { account: toAccountMessage(account), tokens: toTokensMessage(tokens) };
    },

    async signIn({ email, password }, context) {
      const { account, tokens } = await identity.signIn(getCall(context), { email, password });
      return { account: toAccountMessage(account), tokens: toTokensMessage(tokens) };
    },

    async refreshSession({ refreshToken }, context) {
      return { tokens: toTokensMessage(await identity.refresh(getCall(context), refreshToken)) };
    },

    async signOut({ refreshToken }, context) {
      await identity.signOut(getCall(context), refreshToken);
      return {};
    },

    async listSessions(request, context) {
      const page = await identity.listSessions(getCall(context), request);
      return { sessions: page.items.map(toSessionMessage), nextPageToken: page.nextPageToken };
    },

    async revokeSession({ id }, context) {
      await identity.revokeSession(getCall(context), id.toLowerCase());
      return {};
    },

    async getMe(_, context) {
      return { account: toAccountMessage(await identity.getMe(getCall(context))) };
    },

    async changePassword({ currentPassword, newPassword }, context) {
      await identity.changePassword(getCall(context), { currentPassword, newPassword });
      return {};
    },

    async createApiKey(request, context) {
      const { serviceAccount = "", scopes = [], expireTime } = request.apiKey ?? {};
      const { apiKey, secret } = await identity.createApiKey(getCall(context), {
        serviceAccount,
        scopes: scopes.map(toScopeName),
        expireTime: expireTime && timestampDate(expireTime),
      });
      return { apiKey: toApiKeyMessage(apiKey), secret };
    },

    async listApiKeys(request, context) {
      const page = await identity.listApiKeys(getCall(context), request);
      return { apiKeys: page.items.map(toApiKeyMessage), nextPageToken: page.nextPageToken };
    },

    async revokeApiKey({ id }, context) {
      const apiKey = await identity.revokeApiKey(getCall(context), id.toLowerCase());
      return { apiKey: toApiKeyMessage(apiKey) };
    },
  } satisfies ServiceImpl<typeof IdentityService>;
}

function toAccountMessage(account: Account): MessageInitShape<typeof AccountSchema> {
  return { ...account, role: Role[account.role], createTime: timestampFromDate(account.createTime) };
}

function toTokensMessage(tokens: TokenPair): MessageInitShape<typeof TokensSchema> {
  return {
    ...tokens,
    accessTokenExpireTime: timestampFromDate(tokens.accessTokenExpireTime),
    refreshTokenExpireTime: timestampFromDate(tokens.refreshTokenExpireTime),
  };
}

function toSessionMessage(session: Session): MessageInitShape<typeof SessionSchema> {
  return {
    ...session,
    createTime: timestampFromDate(session.createTime),
    refreshTime: timestampFromDate(session.refreshTime),
    expireTime: timestampFromDate(session.expireTime),
  };
}

function toApiKeyMessage(apiKey: ApiKey): MessageInitShape<typeof ApiKeySchema> {
  const { createTime, expireTime, revokeTime } = apiKey;
  return {
    ...apiKey,
    scopes: apiKey.scopes.filter(isScope).map((name) => Scope[name]),
    createTime: timestampFromDate(createTime),
    expireTime: expireTime && timestampFromDate(expireTime),
    revokeTime: revokeTime && timestampFromDate(revokeTime),
  };
}

/** The names of all scopes, without `SCOPE_`, as API keys store them. */
export const scopeNames: readonly string[] = ScopeSchema.values
  .filter(({ number }) => number !== Scope.UNSPECIFIED)
  .map(({ localName }) => localName);

const toScopeName = (scope: Scope): string => ScopeSchema.value[scope]?.localName ?? "";

/** Returns whether the contract has a scope with this name: a stored one may have been removed since. */
const isScope = (name: string): name is keyof typeof Scope => Object.hasOwn(Scope, name);
