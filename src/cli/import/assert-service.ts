import { createGrpcTransport } from "@connectrpc/connect-node";
import { Code, ConnectError, createClient, errorDetails } from "../../client/client.ts";
import { withRetries } from "../../kernel/async/with-retries.ts";
import { errorCode, StartupError } from "../../kernel/errors.ts";

/** Time for the response, in milliseconds. */
const TIMEOUT_MS = 10_000;
/** Attempts to connect, for a service that starts or is replaced meanwhile. The delay doubles with each. */
const ATTEMPTS = 5;
const FIRST_DELAY_MS = 200;
/** Codes of Node and OpenSSL for a certificate that is not trusted. */
const CERTIFICATE_CODE = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_)/;

/**
 * Checks by a read without a token that Cartwright responds at an address, so that the token is never sent to another
 * program.
 * @param onRetry receives the reason of a failure and the delay until the next attempt, in milliseconds
 * @throws StartupError that says what is wrong with the address
 */
export async function assertService(
  url: string,
  onRetry: (reason: string, delayMs: number) => void,
): Promise<void> {
  const { catalog } = createClient({
    baseUrl: url,
    transport: createGrpcTransport,
    retries: 0,
    timeoutMs: TIMEOUT_MS,
  });
  try {
    await withRetries(() => catalog.listCategories({ pageSize: 1 }), {
      attempts: ATTEMPTS,
      firstDelayMs: FIRST_DELAY_MS,
      isRetryable: (error) => errorDetails(error).code === Code.Unavailable,
      onRetry: (error, { delayMs }) => onRetry(describeFailure(url, error).problem, delayMs),
    });
  } catch (error) {
    // An error with a reason is one of the service, such as an exceeded rate limit.
    if (errorDetails(error).reason !== "") return;
    const { problem, advice } = describeFailure(url, error);
    throw new StartupError(`${problem} Nothing was sent. ${advice}`.trim());
  }
}

const ADDRESS_ADVICE =
  "Name the address of the service: --url, or HOST and PORT in the environment or in .env.";

function describeFailure(url: string, thrown: unknown): { problem: string; advice: string } {
  const { code, rawMessage, cause } = ConnectError.from(thrown);
  const connectionCode = errorCode(cause);
  if (connectionCode === "ECONNREFUSED") {
    return {
      problem: `No service accepts connections at ${url}.`,
      advice: `Start it with npm start. ${ADDRESS_ADVICE}`,
    };
  }
  if (CERTIFICATE_CODE.test(connectionCode)) {
    return {
      problem: `The certificate of ${url} is not trusted: ${rawMessage.trim()}.`,
      advice:
        "Use a name of the certificate in --url, and name the file of its authority in the environment variable NODE_EXTRA_CA_CERTS.",
    };
  }
  if (connectionCode === "ERR_SSL_WRONG_VERSION_NUMBER") {
    return {
      problem: `The service at ${url} does not use TLS.`,
      advice: "Name its address with http:// in --url.",
    };
  }
  if (code === Code.Unavailable || code === Code.DeadlineExceeded) {
    const reason = connectionCode === "" ? "" : ` (${connectionCode})`;
    const advice = url.startsWith("http:") ? "If it uses TLS, name its address with https:// in --url." : "";
    return { problem: `No response from ${url}${reason}.`, advice };
  }
  return {
    problem: `The program at ${url} is not Cartwright (${rawMessage.trim()}).`,
    advice: ADDRESS_ADVICE,
  };
}
