// The generator's settings. Names of inquiries are no identifiers of TypeScript: it makes such of them, but of `_1stContact`
// it would make `1stContact`, which is none.
const { readFileSync } = require("node:fs");

const services = {
  v3: { source: "v3.xml", output: "client/v3", serviceName: "InquiriesV3" },
  v4: { source: "v4.xml", output: "client/v4", serviceName: "InquiriesV4" },
};
const documents = Object.values(services).map(({ source }) => readFileSync(source, "utf8"));
const numbered = new Set(documents.flatMap((text) => [...text.matchAll(/Property Name="(_\d\w*)"/g)].map((match) => match[1])));

// The vendor gives the function of an inquiry the inquiry's own name, and its type the same without blanks and hyphens: the
// generator would make one name of both.
const naming = { queryObjects: { operations: { suffix: "Function" } } };

module.exports = { services, naming, propertiesByName: [...numbered].map((name) => ({ name, mappedName: `n${name}` })) };
