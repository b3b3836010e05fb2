import { randomUUID } from "node:crypto";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import {
  ACCOUNTS,
  type AccessRow,
  ADMINS,
  ALL,
  accessRow,
  NOT_FOUND,
  UNAUTHENTICATED,
  withoutSetup,
} from "./access-row.ts";

const newEmail = () => `${randomUUID()}@example.com`;

/** The methods of IdentityService. */
export const identityRows: Readonly<Record<string, AccessRow>> = {
  "IdentityService/Register": accessRow(
    ALL,
    withoutSetup(({ identity }) =>
      identity.register({ email: newEmail(), name: "Bo", password: "some password" }),
    ),
  ),
  "IdentityService/SignIn": accessRow(
    ALL,
    withoutSetup(({ identity }, { owner: { email, password } }) => identity.signIn({ email, password })),
  ),
  "IdentityService/RefreshSession": accessRow(ALL, async ({ owner: { identity, email, password } }) => {
    const { tokens } = await identity.signIn({ email, password });
    return (clients) => clients.identity.refreshSession({ refreshToken: tokens?.refreshToken ?? "" });
  }),
  "IdentityService/SignOut": accessRow(ALL, async ({ owner: { identity, email, password } }) => {
    const { tokens } = await identity.signIn({ email, password });
    return (clients) => clients.identity.signOut({ refreshToken: tokens?.refreshToken ?? "" });
  }),
  "IdentityService/ListSessions": accessRow(
    ACCOUNTS,
    withoutSetup(({ identity }) => identity.listSessions({})),
  ),
  "IdentityService/RevokeSession": accessRow(
    { ...ACCOUNTS, otherCustomer: NOT_FOUND, staff: NOT_FOUND, admin: NOT_FOUND },
    async ({ owner: { identity, email, password } }) => {
      await identity.signIn({ email, password });
      const { sessions } = await identity.listSessions({});
      const id = sessions.find(({ current }) => !current)?.id ?? "";
      return (clients) => clients.identity.revokeSession({ id });
    },
  ),
  "IdentityService/GetMe": accessRow(
    ACCOUNTS,
    withoutSetup(({ identity }) => identity.getMe({})),
  ),
  "IdentityService/ChangePassword": accessRow(
    // The request holds the owner's password, which is wrong for other accounts.
    { ...ACCOUNTS, otherCustomer: UNAUTHENTICATED, staff: UNAUTHENTICATED, admin: UNAUTHENTICATED },
    withoutSetup(({ identity }, { owner: { password } }) =>
      identity.changePassword({ currentPassword: password, newPassword: password }),
    ),
  ),
  "IdentityService/CreateApiKey": accessRow(
    ADMINS,
    withoutSetup(({ identity }) =>
      identity.createApiKey({ apiKey: { serviceAccount: "warehouse", scopes: [Scope.ORDERS_READ] } }),
    ),
  ),
  "IdentityService/ListApiKeys": accessRow(
    ADMINS,
    withoutSetup(({ identity }) => identity.listApiKeys({})),
  ),
  "IdentityService/RevokeApiKey": accessRow(ADMINS, async ({ admin: { identity } }) => {
    const apiKey = { serviceAccount: "warehouse", scopes: [Scope.ORDERS_READ] };
    const { apiKey: created } = await identity.createApiKey({ apiKey });
    return (clients) => clients.identity.revokeApiKey({ id: created?.id ?? "" });
  }),
};
