import { expect, test } from "vitest";
import { editDistance } from "../../../src/config/edit-distance.ts";
import { findUnknownVariables, logUnknownVariables } from "../../../src/config/unknown-variables.ts";
import { variableNames } from "../../../src/config/variables.ts";
import { readConfig } from "../../../src/config.ts";
import { type LogLine, recordingLog } from "../../support/rpc/rpc-server.ts";

const namesOf = (env: Record<string, string>) => findUnknownVariables(env).map(({ name }) => name);
const withValues = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, "value"]));

test.each([
  ["PORTS", "PORT"],
  ["POTR", "PORT"],
  ["port", "PORT"],
  ["DATABASE_ULR", "DATABASE_URL"],
  ["DATABSE_URI", "DATABASE_URL"],
  ["DATABASEURL", "DATABASE_URL"],
  ["REDIS_URI", "REDIS_URL"],
  ["LOGLEVEL", "LOG_LEVEL"],
  ["LIMIT_REDA", "LIMIT_READ"],
  ["LIMITS_READ", "LIMIT_READ"],
  ["TRUSTED_PROXYS", "TRUSTED_PROXIES"],
  ["CORS_ORIGIN", "CORS_ORIGINS"],
  ["TLS_KEYFILE", "TLS_KEY_FILE"],
  ["SEED_DEMOS", "SEED_DEMO"],
  ["WORKER", "WORKERS"],
  ["CARTWRIGHT_LOG_LEVEL", "LOG_LEVEL"],
  ["CARTWRIGHT_DATABASE_ULR", "DATABASE_URL"],
  ["cartwright_admin_port", "ADMIN_PORT"],
  ["RATE_LIMITS", "LIMITS"],
  ["RATE_LIMIT_AUTH", "LIMIT_AUTH"],
])("the misspelled %s is reported with %s", (name, expected) => {
  expect(findUnknownVariables({ [name]: "1" })).toEqual([{ name, suggestions: [expected] }]);
});

test.each([
  ["DB_POOL_SIZE", "DB_POOL_MAX"],
  ["DB_TIMEOUT_MS", "DB_STATEMENT_TIMEOUT_MS"],
  ["CACHE_SIZE_MB", "CACHE_MEMORY_MB"],
  ["LIMIT_ORDERS", "LIMIT_READ"],
  ["TLS_CA_FILE", "TLS_CERT_FILE"],
])("%s is reported with the variables of its prefix, among them %s", (name, expected) => {
  const [unknown] = findUnknownVariables({ [name]: "1" });
  expect(unknown?.suggestions).toContain(expected);
  const prefix = `${name.split("_")[0]}_`;
  expect(unknown?.suggestions.filter((one) => !one.startsWith(prefix))).toEqual([]);
});

/** Variables that shells, desktops, CI services, platforms and other programs set. */
const USUAL = `
  _ COLORTERM DISPLAY EDITOR EUID GROUP HISTFILE HOME HOSTNAME HOSTTYPE IFS LANG LANGUAGE LC_ALL LC_CTYPE LINES LOGNAME
  LS_COLORS MACHTYPE MAIL MANPATH OLDPWD OSTYPE PAGER PATH PPID PS1 PWD SHELL SHLVL SSH_AUTH_SOCK SSH_CLIENT
  SSH_CONNECTION SSH_TTY SUDO_USER TEMP TERM TERM_PROGRAM TMP TMPDIR TZ UID USER USERNAME VISUAL XDG_CACHE_HOME
  XDG_CONFIG_HOME XDG_DATA_DIRS XDG_RUNTIME_DIR XDG_SESSION_ID DBUS_SESSION_BUS_ADDRESS INVOCATION_ID JOURNAL_STREAM
  http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE
  NODE NODE_ENV NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED NODE_VERSION NVM_DIR NVM_BIN
  INIT_CWD COLOR FORCE_COLOR NO_COLOR DEBUG npm_command npm_config_cache npm_config_user_agent npm_execpath
  npm_lifecycle_event npm_node_execpath npm_package_json npm_package_name npm_package_version npm_config_noproxy
  YARN_VERSION PNPM_HOME COREPACK_HOME VITEST VITEST_POOL_ID VITEST_WORKER_ID TEST CARGO_HOME GOPATH GOROOT GOCACHE
  JAVA_HOME M2_HOME PYTHONPATH VIRTUAL_ENV RUBYOPT GEM_HOME RUSTUP_HOME CC CXX CFLAGS LDFLAGS MAKEFLAGS
  CI CI_COMMIT_SHA CI_JOB_ID CI_PIPELINE_ID CI_PROJECT_DIR CI_REGISTRY CI_REGISTRY_PASSWORD CI_RUNNER_ID GITLAB_CI
  GITHUB_ACTIONS GITHUB_ACTOR GITHUB_ENV GITHUB_JOB GITHUB_PATH GITHUB_REF GITHUB_REPOSITORY GITHUB_SHA GITHUB_TOKEN
  GITHUB_WORKSPACE RUNNER_OS RUNNER_TEMP RUNNER_TOOL_CACHE ACTIONS_CACHE_URL ACTIONS_RUNTIME_TOKEN BUILD_ID BUILD_NUMBER
  BUILDKITE BUILDKITE_BRANCH CIRCLECI CIRCLE_SHA1 JENKINS_HOME JENKINS_URL JOB_NAME NODE_NAME WORKSPACE TRAVIS
  TF_BUILD SYSTEM_TEAMPROJECT AGENT_NAME BITBUCKET_COMMIT DRONE TEAMCITY_VERSION DEPLOY_ENV APP_ENV ENV ENVIRONMENT STAGE
  AWS_ACCESS_KEY_ID AWS_DEFAULT_REGION AWS_REGION AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE ECS_CONTAINER_METADATA_URI
  AZURE_CLIENT_ID GOOGLE_APPLICATION_CREDENTIALS GOOGLE_CLOUD_PROJECT GCP_PROJECT K_SERVICE K_REVISION DYNO FLY_APP_NAME
  FLY_REGION RENDER RAILWAY_ENVIRONMENT VERCEL VERCEL_URL WEB_CONCURRENCY MEMORY_AVAILABLE PORT_HTTP PORT_8080 PORT0 PORT1
  KUBERNETES_PORT KUBERNETES_PORT_443_TCP KUBERNETES_PORT_443_TCP_ADDR KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT
  KUBERNETES_SERVICE_PORT_HTTPS POD_NAME POD_IP POD_NAMESPACE HOST_IP NODE_IP
  CARTWRIGHT_PORT CARTWRIGHT_PORT_8080_TCP CARTWRIGHT_PORT_8080_TCP_ADDR CARTWRIGHT_SERVICE_HOST CARTWRIGHT_SERVICE_PORT
  CACHE_PORT CACHE_PORT_6379_TCP CACHE_PORT_6379_TCP_ADDR CACHE_PORT_6379_TCP_PROTO CACHE_SERVICE_HOST CACHE_SERVICE_PORT
  CACHE_SERVICE_PORT_REDIS DB_PORT DB_PORT_5432_TCP DB_SERVICE_HOST DB_SERVICE_PORT DB_NAME DB_ENV_POSTGRES_PASSWORD
  REDIS_SERVICE_HOST REDIS_PORT REDIS_PORT_6379_TCP REDIS_HOST REDIS_PASSWORD REDIS_DB REDIS_SSL REDIS_TLS REDIS_TLS_URL
  DATABASE_HOST DATABASE_NAME DATABASE_PASSWORD DATABASE_PORT DATABASE_SSL DATABASE_USER DATABASE_POOL DATABASE_SCHEMA
  DB_HOST DB_USER DB_USERNAME DB_PASSWORD DB_PASS DB_DATABASE DB_CONNECTION DB_URL DB_SSL DB_SSLMODE DB_DRIVER DB_SCHEMA
  CACHE_DIR CACHE_DRIVER CACHE_STORE CACHE_PREFIX CACHE_KEY CACHE_URL CACHE_TTL
  PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGDATA PGSSLMODE POSTGRES_DB POSTGRES_HOST POSTGRES_PASSWORD POSTGRES_PORT
  POSTGRES_USER MYSQL_HOST MONGO_URL SMTP_HOST SMTP_PORT LOG_FORMAT LOG_FILE LOG_DIR LOG_PATH LOG_LEVELS_FILE SENTRY_DSN
  DOCKER_HOST DOCKER_TLS_VERIFY DOCKER_CERT_PATH COMPOSE_FILE COMPOSE_PROJECT_NAME CARTWRIGHT_TOKEN CARTWRIGHT_KEY CARTWRIGHT_URL
  RATE RATE_OF_INTEREST
  OTEL_EXPORTER_OTLP_ENDPOINT OTEL_SERVICE_NAME SECRET_KEY SECRET_KEY_BASE JWT_SECRET TOKEN API_KEY ADMIN_EMAIL
  ADMIN_PASSWORD SERVER_PORT APP_PORT HTTP_PORT BASE_URL PUBLIC_URL DATA DATA_PATH ACCESS_TOKEN ACCESS_KEY MAX_CONNECTIONS
`
  .trim()
  .split(/\s+/);

test("variables of systems, CI services, platforms and other programs are not reported", () => {
  expect(USUAL.length).toBeGreaterThan(250);
  const reported = USUAL.filter((name) => namesOf({ [name]: "value" }).length > 0);
  expect(reported).toEqual([]);
});

test("no variable of the service and none of this process is reported", () => {
  expect(namesOf(withValues(variableNames))).toEqual([]);
  expect(findUnknownVariables(process.env)).toEqual([]);
});

test("a variable without a value is not reported, and ten variables at most are", () => {
  expect(namesOf({ LIMIT_REDA: "", LIMIT_WRITES: "1/1" })).toEqual(["LIMIT_WRITES"]);
  expect(namesOf(withValues(Array.from({ length: 20 }, (_, index) => `LIMIT_X${index}`)))).toHaveLength(10);
  expect(namesOf({ [`LIMIT_${"X".repeat(100_000)}`]: "1" })).toEqual([]);
});

test("names are logged, values never", () => {
  const lines: LogLine[] = [];
  logUnknownVariables(
    findUnknownVariables({ DATABASE_ULR: "postgres://app:hunter2@db/shop" }),
    recordingLog(lines),
  );
  expect(lines).toEqual([
    {
      level: "warn",
      fields: { variable: "DATABASE_ULR", suggestions: ["DATABASE_URL"] },
      message: "Unknown environment variable ignored",
    },
  ]);
});

test("an invalid configuration is reported together with the misspelled names", () => {
  expect(() => readConfig({ TLS_CERT_FILE: "cert.pem", TLS_KEYFILE: "hunter2.pem" })).toThrow(
    /TLS_CERT_FILE and TLS_KEY_FILE together.*\n {2}TLS_KEYFILE: is unknown; did you mean TLS_KEY_FILE\?$/,
  );
});

test.each<[string, string, number]>([
  ["", "", 0],
  ["PORT", "PORT", 0],
  ["PORT", "", 4],
  ["PORT", "PRT", 1],
  ["PORT", "PPORT", 1],
  ["PORT", "SORT", 1],
  ["PORT", "OPRT", 1],
  ["HOST", "PORT", 2],
  ["ABCD", "BADC", 2],
])("the distance from %j to %j is %i, in both directions", (from, to, distance) => {
  expect([editDistance(from, to), editDistance(to, from)]).toEqual([distance, distance]);
});
