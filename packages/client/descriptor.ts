import { base64Encode } from "@bufbuild/protobuf/wire";

/** Returns the base64 of bytes in hexadecimal, without padding. The package holds its descriptors in this form. */
export function hexToBase64(hex: string): string {
  const bytes = new Uint8Array(hex.length / 2);
  for (const index of bytes.keys()) bytes[index] = Number.parseInt(hex.slice(2 * index, 2 * index + 2), 16);
  return base64Encode(bytes, "std_raw");
}
