/** A request to another service. */
export interface PostRequest {
  url: string;
  /** Sent as a bearer token; undefined for none. */
  token: string | undefined;
  body: string;
  signal: AbortSignal;
  /** Maximum size of the response, in bytes, after decompression. */
  maxBytes: number;
}

/** The service has responded that it cannot serve requests now. */
export class ServiceUnavailableError extends Error {
  override readonly name = "ServiceUnavailableError";
}

/**
 * Posts JSON and returns the body of the response. Redirects are not followed, because they would get the token.
 * @throws ServiceUnavailableError for 429 and 5xx; RangeError for a response that is too large; Error for another status;
 *   what fetch throws for a failed connection or an aborted signal
 */
export async function postJson({ url, token, body, signal, maxBytes }: PostRequest): Promise<string> {
  const response = await fetch(url, {
    method: "POST",
    headers: {
      accept: "application/json",
      "content-type": "application/json",
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    body,
    redirect: "manual",
    signal,
  });
  const { status } = response;
  if (status !== 200) {
    await response.body?.cancel();
    const message = `The service responded with HTTP status ${status}.`;
    throw status === 429 || status >= 500 ? new ServiceUnavailableError(message) : new Error(message);
  }
  return readText(response, maxBytes);
}

async function readText({ body }: Response, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop by an error cancels the body.
  for await (const chunk of body ?? []) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new RangeError(`The response is larger than ${maxBytes} bytes.`);
    chunks.push(chunk);
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
}
