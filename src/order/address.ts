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
