import { invalidField } from "../../kernel/errors.ts";
import { isCountry } from "./countries.ts";

/** A postal address in any script. It is checked, and never changed. */
export interface PostalAddress {
  /** ISO 3166-1 code. */
  countryCode: string;
  /** State, province or region. */
  administrativeArea: string;
  locality: string;
  postalCode: string;
  /** Street, house number and what else is above the locality. */
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
export function assertAddress(address: PostalAddress, field: string): void {
  if (isCountry(address.countryCode)) return;
  throw invalidField(`${field}.country_code`, "is not the code of a country (ISO 3166-1)");
}
