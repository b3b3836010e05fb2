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
import type { Account, ApiKey, Identity, Session, Tokens } from "./identity.ts";

/** IdentityService on the wire: messages in, messages out, no rules. */
export function identityRpc(identity: Identity, callOf: (context: HandlerContext) => Call) {
  return {
    async register({ email, name, password }, context) {
      const { account, tokens } = await identity.register(callOf(context), { email, name, password });
      return { account: accountMessage(account), tokens: tokensMessage(tokens) };
    },

    async signIn({ email, password }, context) {
      const { account, tokens } = await identity.signIn(callOf(context), { email, password });
      return { account: accountMessage(account), tokens: tokensMessage(tokens) };
    },

    async refreshSession({ refreshToken }, context) {
      return { tokens: tokensMessage(await identity.refresh(callOf(context), refreshToken)) };
    },

    async signOut({ refreshToken }, context) {
      await identity.signOut(callOf(context), refreshToken);
      return {};
    },

    async listSessions(request, context) {
      const page = await identity.listSessions(callOf(context), request);
      return { sessions: page.items.map(sessionMessage), nextPageToken: page.nextPageToken };
    },

    async revokeSession({ id }, context) {
      await identity.revokeSession(callOf(context), id.toLowerCase());
      return {};
    },

    async getMe(_, context) {
      return { account: accountMessage(await identity.getMe(callOf(context))) };
    },

    async changePassword({ currentPassword, newPassword }, context) {
      await identity.changePassword(callOf(context), { currentPassword, newPassword });
      return {};
    },

    async createApiKey({ apiKey: asked }, context) {
      const { serviceAccount = "", scopes = [], expireTime } = asked ?? {};
      const input = {
        serviceAccount,
        scopes: scopes.map(scopeName),
        expireTime: expireTime && timestampDate(expireTime),
      };
      const { apiKey, secret } = await identity.createApiKey(callOf(context), input);
      return { apiKey: apiKeyMessage(apiKey), secret };
    },

    async listApiKeys(request, context) {
      const page = await identity.listApiKeys(callOf(context), request);
      return { apiKeys: page.items.map(apiKeyMessage), nextPageToken: page.nextPageToken };
    },

    async revokeApiKey({ id }, context) {
      return { apiKey: apiKeyMessage(await identity.revokeApiKey(callOf(context), id.toLowerCase())) };
    },
  } satisfies ServiceImpl<typeof IdentityService>;
}

function accountMessage(account: Account): MessageInitShape<typeof AccountSchema> {
  return { ...account, role: Role[account.role], createTime: timestampFromDate(account.createTime) };
}

function tokensMessage(tokens: Tokens): MessageInitShape<typeof TokensSchema> {
  return {
    ...tokens,
    accessTokenExpireTime: timestampFromDate(tokens.accessTokenExpireTime),
    refreshTokenExpireTime: timestampFromDate(tokens.refreshTokenExpireTime),
  };
}

function sessionMessage(session: Session): MessageInitShape<typeof SessionSchema> {
  return {
    ...session,
    createTime: timestampFromDate(session.createTime),
    refreshTime: timestampFromDate(session.refreshTime),
    expireTime: timestampFromDate(session.expireTime),
  };
}

function apiKeyMessage(apiKey: ApiKey): MessageInitShape<typeof ApiKeySchema> {
  const { createTime, expireTime, revokeTime } = apiKey;
  return {
    ...apiKey,
    scopes: apiKey.scopes.filter(isScope).map((name) => Scope[name]),
    createTime: timestampFromDate(createTime),
    expireTime: expireTime && timestampFromDate(expireTime),
    revokeTime: revokeTime && timestampFromDate(revokeTime),
  };
}

/** What keys may be good for, as it is kept: without SCOPE_. */
export const scopeNames: readonly string[] = ScopeSchema.values
  .filter(({ number }) => number !== Scope.UNSPECIFIED)
  .map(({ localName }) => localName);

const scopeName = (scope: Scope): string => ScopeSchema.value[scope]?.localName ?? "";

/** Whether the contract has a scope of this name still. */
const isScope = (name: string): name is keyof typeof Scope => Object.hasOwn(Scope, name);
