// Validates definitions, by their addresses on the command line, with swagger-parser: against the schema of Swagger 2.0 or
// OpenAPI 3.0, and against the words of the specification. Prints what is wrong with each, or null.
import parser from "@apidevtools/swagger-parser";

const faults = {};
for (const file of process.argv.slice(2)) {
  try {
    await parser.validate(file);
    faults[file] = null;
  } catch (error) {
    faults[file] = error.message;
  }
}
console.log(JSON.stringify(faults));
