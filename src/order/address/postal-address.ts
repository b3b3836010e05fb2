import { invalidField } from "../../kernel/errors.ts";
import { isCountry } from "./countries.ts";

/** A postal address, in any script, as the caller wrote it. Fields are empty if they are not set. */
export interface PostalAddress {
  /** ISO 3166-1 alpha-2. */
  countryCode: string;
  administrativeArea: string;
  locality: string;
  postalCode: string;
  addressLines: string[];
  recipient: string;
  organization: string;
  phone: string;
}

/**
 * Verifies an address beyond the rules of the contract.
 * @param field path of the address in the request
 * @throws AppError invalid_argument for an unknown country
 */
export function assertAddress(address: PostalAddress | undefined, field: string): void {
  if (address === undefined || isCountry(address.countryCode)) return;
  throw invalidField(`${field}.country_code`, "is not the code of a country (ISO 3166-1).");
}
