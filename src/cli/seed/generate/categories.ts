/** A category of the seeded shop, with the values that its products are generated from. */
export interface SeedCategory {
  slug: string;
  name: string;
  /** Slug of the parent category; undefined for a root. */
  parent?: string;
  brands: readonly string[];
  /** Nouns, with the lowest and the highest price in euros, the weight and the tax class. */
  productKinds: readonly (readonly [
    noun: string,
    minPrice: number,
    maxPrice: number,
    weightGrams: number,
    taxClass?: string,
  ])[];
  materials: readonly string[];
  /** An attribute of its products, with its values. */
  variant: readonly [name: string, values: readonly string[]];
}

const ELECTRONICS_BRANDS = ["Voltera", "Kestrane", "Lumaro", "Nordbyte", "Arcvale"];
const HOME_BRANDS = ["Hearth & Oak", "Brindle", "Casa Lindén", "Tallgrass", "Fjordholm"];
const FASHION_BRANDS = ["Marlowe", "Sorrelle", "Atelier Vey", "Northpine", "Calder & Wren"];
const SPORTS_BRANDS = ["Craghold", "Swiftwater", "Peltane", "Summit Nine", "Tarnwick"];

/** All 15 categories, parents first, with 20 brands. */
export const SEED_CATEGORIES: readonly SeedCategory[] = [
  {
    slug: "electronics",
    name: "Electronics",
    brands: ELECTRONICS_BRANDS,
    productKinds: [
      ["USB-C Charger", 12, 60, 120],
      ["Power Bank", 19, 90, 350],
      ["Charging Cable", 6, 25, 60],
      ["Power Strip", 12, 45, 600],
    ],
    materials: ["recycled plastic", "braided nylon", "aluminium"],
    variant: ["power", ["20 W", "45 W", "65 W", "100 W"]],
  },
  {
    slug: "phones",
    name: "Phones",
    parent: "electronics",
    brands: ELECTRONICS_BRANDS,
    productKinds: [
      ["Smartphone", 179, 1_199, 400],
      ["Senior Phone", 39, 129, 350],
      ["Rugged Phone", 199, 699, 550],
    ],
    materials: ["glass", "aluminium", "ceramic"],
    variant: ["storage", ["64 GB", "128 GB", "256 GB", "512 GB"]],
  },
  {
    slug: "laptops",
    name: "Laptops",
    parent: "electronics",
    brands: ELECTRONICS_BRANDS,
    productKinds: [
      ["Ultrabook", 699, 2_199, 1_900],
      ["Gaming Laptop", 899, 2_999, 3_800],
      ["Chromebook", 199, 599, 1_800],
      ["Laptop", 399, 1_299, 2_600],
    ],
    materials: ["aluminium", "magnesium", "carbon fibre"],
    variant: ["memory", ["8 GB", "16 GB", "32 GB", "64 GB"]],
  },
  {
    slug: "audio",
    name: "Audio",
    parent: "electronics",
    brands: ELECTRONICS_BRANDS,
    productKinds: [
      ["Wireless Headphones", 49, 399, 550],
      ["Earbuds", 19, 249, 150],
      ["Bluetooth Speaker", 25, 299, 900],
      ["Turntable", 99, 649, 6_500],
    ],
    materials: ["recycled plastic", "leatherette", "walnut"],
    variant: ["battery", ["8 h", "20 h", "30 h", "40 h"]],
  },
  {
    slug: "cameras",
    name: "Cameras",
    parent: "electronics",
    brands: ELECTRONICS_BRANDS,
    productKinds: [
      ["Mirrorless Camera", 499, 2_799, 1_200],
      ["Action Camera", 129, 499, 350],
      ["Zoom Lens", 199, 1_899, 1_100],
      ["Tripod", 25, 249, 1_800],
    ],
    materials: ["magnesium", "aluminium", "carbon fibre"],
    variant: ["resolution", ["12 MP", "24 MP", "33 MP", "45 MP"]],
  },
  {
    slug: "home",
    name: "Home",
    brands: HOME_BRANDS,
    productKinds: [
      ["Storage Basket", 9, 49, 700],
      ["Wool Blanket", 29, 149, 1_400],
      ["Cushion", 12, 59, 600],
      ["Scented Candle", 8, 39, 450],
    ],
    materials: ["cotton", "linen", "wool", "seagrass"],
    variant: ["size", ["small", "medium", "large"]],
  },
  {
    slug: "kitchen",
    name: "Kitchen",
    parent: "home",
    brands: HOME_BRANDS,
    productKinds: [
      ["Chef's Knife", 29, 199, 350],
      ["Frying Pan", 19, 129, 1_600],
      ["Espresso Machine", 129, 899, 9_500],
      ["Kettle", 24, 119, 1_300],
    ],
    materials: ["stainless steel", "cast iron", "copper", "ceramic"],
    variant: ["size", ["20 cm", "24 cm", "28 cm"]],
  },
  {
    slug: "furniture",
    name: "Furniture",
    parent: "home",
    brands: HOME_BRANDS,
    productKinds: [
      ["Armchair", 149, 899, 24_000],
      ["Bookcase", 79, 499, 38_000],
      ["Dining Table", 199, 1_499, 52_000],
      ["Desk", 99, 799, 31_000],
    ],
    materials: ["oak", "beech", "walnut", "bamboo", "steel"],
    variant: ["width", ["60 cm", "80 cm", "120 cm", "160 cm"]],
  },
  {
    slug: "lighting",
    name: "Lighting",
    parent: "home",
    brands: HOME_BRANDS,
    productKinds: [
      ["Desk Lamp", 19, 149, 1_900],
      ["Floor Lamp", 49, 299, 6_200],
      ["Pendant Light", 39, 349, 2_300],
      ["LED Bulb", 4, 19, 80],
    ],
    materials: ["brass", "glass", "paper", "steel"],
    variant: ["light", ["2700 K", "3000 K", "4000 K"]],
  },
  {
    slug: "fashion",
    name: "Fashion",
    brands: FASHION_BRANDS,
    productKinds: [
      ["Scarf", 15, 99, 200],
      ["Leather Belt", 19, 89, 300],
      ["Wallet", 25, 119, 150],
      ["Beanie", 12, 45, 120],
    ],
    materials: ["merino wool", "leather", "cotton", "cashmere"],
    variant: ["size", ["S", "M", "L", "one size"]],
  },
  {
    slug: "shoes",
    name: "Shoes",
    parent: "fashion",
    brands: FASHION_BRANDS,
    productKinds: [
      ["Running Shoes", 59, 199, 900],
      ["Ankle Boots", 79, 289, 1_500],
      ["Sneakers", 49, 159, 1_000],
      ["Sandals", 25, 109, 700],
    ],
    materials: ["leather", "suede", "canvas", "recycled mesh"],
    variant: ["size", ["37", "39", "41", "43", "45"]],
  },
  {
    slug: "watches",
    name: "Watches",
    parent: "fashion",
    brands: FASHION_BRANDS,
    productKinds: [
      ["Automatic Watch", 199, 1_899, 400],
      ["Chronograph", 129, 899, 400],
      ["Field Watch", 79, 349, 300],
      ["Watch Strap", 15, 79, 60],
    ],
    materials: ["steel", "titanium", "bronze"],
    variant: ["case", ["36 mm", "38 mm", "40 mm", "42 mm"]],
  },
  {
    slug: "sports",
    name: "Sports",
    brands: SPORTS_BRANDS,
    productKinds: [
      ["Yoga Mat", 19, 99, 1_200],
      ["Water Bottle", 9, 39, 300],
      ["Kettlebell", 19, 119, 0],
      ["Gym Bag", 25, 129, 900],
    ],
    materials: ["cork", "stainless steel", "cast iron", "recycled nylon"],
    variant: ["weight", ["0.5 kg", "1 kg", "4 kg", "8 kg"]],
  },
  {
    slug: "cycling",
    name: "Cycling",
    parent: "sports",
    brands: SPORTS_BRANDS,
    productKinds: [
      ["Road Bike", 599, 3_499, 14_000],
      ["City Bike", 349, 1_499, 21_000],
      ["Bike Helmet", 29, 199, 600, "reduced"],
      ["Bike Light", 12, 89, 150],
    ],
    materials: ["aluminium", "carbon fibre", "steel"],
    variant: ["size", ["S", "M", "L", "XL"]],
  },
  {
    slug: "camping",
    name: "Camping",
    parent: "sports",
    brands: SPORTS_BRANDS,
    productKinds: [
      ["Tent", 89, 699, 3_600],
      ["Sleeping Bag", 39, 349, 1_500],
      ["Camping Stove", 25, 149, 500],
      ["Backpack", 45, 289, 1_700],
    ],
    materials: ["ripstop nylon", "polyester", "titanium", "down"],
    variant: ["capacity", ["1 person", "2 persons", "4 persons"]],
  },
];
