/** The flags and the length before each message of gRPC, gRPC-Web and Connect streams. */
export const ENVELOPE_HEADER_BYTES = 5;

/** The flags of an envelope. */
export const ENVELOPE_FLAGS = {
  none: 0,
  compressed: 0b1,
  /** Connect: the content is the end of the stream, as JSON. */
  endOfStream: 0b10,
  /** gRPC-Web: the content is the trailers. */
  trailers: 0x80,
} as const;

/** Returns a message in an envelope, in a buffer of its own. */
export function encodeEnvelope(message: Uint8Array, flags: number): Buffer {
  // Not from the pool: a cached envelope would keep all of it.
  const envelope = Buffer.allocUnsafeSlow(ENVELOPE_HEADER_BYTES + message.length);
  envelope.writeUInt8(flags);
  envelope.writeUInt32BE(message.length, 1);
  envelope.set(message, ENVELOPE_HEADER_BYTES);
  return envelope;
}

/** Returns the length of the message in an envelope, whose header has arrived. */
export function envelopeLength(envelope: Buffer): number {
  return envelope.readUInt32BE(1);
}

/**
 * Returns the message of a complete envelope.
 * @throws RangeError when it is compressed or another special one
 */
export function decodeEnvelope(envelope: Buffer): Uint8Array {
  if (envelope.readUInt8() !== ENVELOPE_FLAGS.none) throw new RangeError("The envelope has flags.");
  return envelope.subarray(ENVELOPE_HEADER_BYTES);
}
