import type { Keyset } from "../../infra/postgres/keyset.ts";

/** The tax rate of a tax class. */
export interface TaxRate {
  /** Empty for the standard class. */
  taxClass: string;
  /** Parts per million of the amount without tax. */
  ratePpm: number;
}

/** The fields of a tax zone that staff write. */
export interface TaxZoneInput {
  /** ISO 3166-1 code. */
  countryCode: string;
  /** State or province as addresses name it; empty for the whole country. */
  region: string;
  pricesIncludeTax: boolean;
  /** Each class once. A class without a rate has that of the standard class; without one, it is not taxed. */
  rates: readonly TaxRate[];
  shippingTaxClass: string;
}

/** The taxes of a country or of a region of it. */
export interface TaxZone extends TaxZoneInput {
  id: string;
  etag: string;
  createTime: Date;
  updateTime: Date;
}

/** A tax zone as PostgreSQL returns it. */
export interface TaxZoneRow {
  id: string;
  country: string;
  region: string;
  region_key: string;
  prices_include_tax: boolean;
  rates: TaxRate[];
  shipping_tax_class: string;
  version: number;
  created_at: string;
  updated_at: string;
}

/** The sort order of lists of tax zones. */
export const SORT_BY_REGION: Keyset = {
  columns: [
    { name: "country", type: "text" },
    { name: "region_key", type: "text" },
  ],
  descending: false,
};

/** Returns the text by which regions are compared: without regard to case, width and spaces around it. */
export function regionKey(region: string): string {
  return region.normalize("NFKC").trim().toUpperCase();
}

/** Returns the tax zone of a row. */
export function taxZoneFromRow(row: TaxZoneRow): TaxZone {
  return {
    id: row.id,
    countryCode: row.country,
    region: row.region,
    pricesIncludeTax: row.prices_include_tax,
    rates: row.rates,
    shippingTaxClass: row.shipping_tax_class,
    etag: String(row.version),
    createTime: new Date(row.created_at),
    updateTime: new Date(row.updated_at),
  };
}
