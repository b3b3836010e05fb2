import { Migration } from "@mikro-orm/migrations";

/** Adds the shipping zones and the tax zones that quotes are computed with. */
export class Migration20261130050000 extends Migration {
  override up(): void {
    this.addSql(`
      create table shipping_zone (
        id uuid not null,
        name text not null,
        currency char(3) not null,
        rates jsonb not null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        primary key (id)
      )`);
    this.addSql(`create index shipping_zone_name on shipping_zone (name, id)`);
    this.addSql(`
      create table shipping_zone_country (
        country text not null,
        zone_id uuid not null,
        primary key (country),
        constraint shipping_zone_country_valid check (country ~ '^([A-Z]{2}|[*])$'),
        constraint shipping_zone_country_zone_fk foreign key (zone_id) references shipping_zone on delete cascade
      )`);
    this.addSql(`create index shipping_zone_country_zone on shipping_zone_country (zone_id)`);
    this.addSql(`
      create table tax_zone (
        id uuid not null,
        country char(2) not null,
        region text not null,
        region_key text not null,
        prices_include_tax boolean not null,
        rates jsonb not null,
        shipping_tax_class text not null,
        version int not null default 1,
        created_at timestamptz(3) not null,
        updated_at timestamptz(3) not null,
        primary key (id),
        constraint tax_zone_region_unique unique (country, region_key)
      )`);
  }
}
