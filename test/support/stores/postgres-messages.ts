/** A message from a client to PostgreSQL. */
export interface FrontendMessage {
  bytes: Buffer;
  /** The statement that the message sends (Query, Parse) or executes (Bind); undefined for other messages. */
  text: string | undefined;
}

/** Length of the length field, in bytes. */
const LENGTH_BYTES = 4;

/**
 * Creates a reader that splits the data of one connection into messages (PostgreSQL documentation, "Message Formats").
 * The first message has no type; connections with TLS are not supported.
 */
export function readFrontendMessages(): (chunk: Buffer) => FrontendMessage[] {
  /** The texts of prepared statements by name. */
  const prepared = new Map<string, string>();
  let buffered: Buffer = Buffer.alloc(0);
  let typeBytes = 0;
  return (chunk) => {
    buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
    const messages: FrontendMessage[] = [];
    let start = 0;
    while (buffered.length - start >= typeBytes + LENGTH_BYTES) {
      const end = start + typeBytes + buffered.readUInt32BE(start + typeBytes);
      if (end > buffered.length) break;
      const bytes = buffered.subarray(start, end);
      messages.push({ bytes, text: typeBytes === 0 ? undefined : readText(bytes, prepared) });
      typeBytes = 1;
      start = end;
    }
    buffered = buffered.subarray(start);
    return messages;
  };
}

function readText(bytes: Buffer, prepared: Map<string, string>): string | undefined {
  const type = String.fromCharCode(bytes[0] ?? 0);
  const [first = "", second = ""] = bytes.toString("latin1", 1 + LENGTH_BYTES).split("\0", 2);
  if (type === "Q") return first;
  if (type === "P") {
    prepared.set(first, second);
    return second;
  }
  // Bind names its portal first, then its statement.
  return type === "B" ? prepared.get(second) : undefined;
}
