/** Follows a value through calls, and says in which files a reader lands, one after the other. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseAst } from 'vitest/node';

const parsed = new Map();

/** Functions, classes and interfaces of a file by name, and the files that its imports come from. */
function readModule(file) {
  let module = parsed.get(file);
  if (module !== undefined) return module;
  const program = parseAst(readFileSync(file, 'utf8'), { lang: 'ts' });
  module = { file, functions: new Map(), interfaces: new Set(), imports: new Map(), fields: new Map() };
  for (const node of program.body) {
    if (node.type === 'ImportDeclaration' && node.source.value.startsWith('.')) {
      const from = join(dirname(file), node.source.value);
      for (const { imported, local } of node.specifiers)
        module.imports.set(local.name, { file: from, name: imported.name });
    }
    const declared = node.type === 'ExportNamedDeclaration' ? node.declaration : node;
    if (declared?.type === 'FunctionDeclaration') module.functions.set(declared.id.name, declared);
    if (declared?.type === 'TSInterfaceDeclaration') module.interfaces.add(declared.id.name);
    if (declared?.type === 'ClassDeclaration')
      for (const member of declared.body.body) {
        const name = `${declared.id.name}.${nameOf(member.key)}`;
        if (member.type === 'MethodDefinition')
          module.functions.set(name, { ...member.value, of: declared.id.name });
        const type = member.typeAnnotation?.typeAnnotation?.typeName?.name;
        if (member.type === 'PropertyDefinition' && type !== undefined) module.fields.set(name, type);
      }
  }
  parsed.set(file, module);
  return module;
}

function nameOf(key) {
  return key.type === 'PrivateIdentifier' ? `#${key.name}` : key.name;
}

/** @returns the files that calls lead to which pass the value on, in the order of the text */
export function walk(file, name, parameter) {
  const follower = new Follower();
  follower.landings.push(file);
  follower.visit(file, name, new Set([parameter]));
  return follower.landings;
}

class Follower {
  landings = [];
  #visited = new Set();

  visit(inFile, ofName, carriers) {
    if (this.#visited.has(`${inFile}:${ofName}`)) return;
    this.#visited.add(`${inFile}:${ofName}`);
    const module = readModule(inFile);
    const declared = module.functions.get(ofName);
    if (declared === undefined) return;
    const types = new Map();
    const scope = new Set([...carriers]);
    for (const parameterNode of declared.params) this.#noteType(parameterNode, types);
    this.#follow(declared.body, { module, scope, types, of: declared.of });
  }

  #noteType(node, types) {
    const target = node.type === 'TSParameterProperty' ? node.parameter : node;
    const type = target.typeAnnotation?.typeAnnotation;
    if (
      target.type === 'Identifier' &&
      type?.type === 'TSTypeReference' &&
      type.typeName.type === 'Identifier'
    )
      types.set(target.name, type.typeName.name);
  }

  #follow(node, context) {
    if (node === null || typeof node !== 'object') return;
    if (Array.isArray(node)) {
      for (const child of node) this.#follow(child, context);
      return;
    }
    if (typeof node.type !== 'string' || node.type.startsWith('TS')) return;
    if (node.type === 'CallExpression' || node.type === 'NewExpression') {
      const passed = node.arguments.map((argument) => this.#carries(argument, context.scope));
      // A call that is an argument is made first.
      this.#follow(node.arguments, context);
      if (node.callee.type === 'MemberExpression') this.#follow(node.callee.object, context);
      if (passed.some(Boolean)) this.#land(node, context, passed);
      return;
    }
    if (
      node.type === 'VariableDeclarator' &&
      node.id.type === 'Identifier' &&
      node.init !== null &&
      this.#carries(node.init, context.scope)
    )
      context.scope.add(node.id.name);
    for (const [key, child] of Object.entries(node))
      if (key !== 'type' && key !== 'typeAnnotation') this.#follow(child, context);
  }

  /** Whether an expression is the value, or an object that holds it. */
  #carries(node, scope) {
    if (node.type === 'Identifier') return scope.has(node.name);
    if (node.type === 'MemberExpression')
      return (
        node.object.type === 'ThisExpression' && scope.has('this') && nameOf(node.property) === '#partition'
      );
    if (node.type === 'ObjectExpression')
      return node.properties.some((property) =>
        this.#carries(property.type === 'SpreadElement' ? property.argument : property.value, scope),
      );
    return false;
  }

  #land(node, { module, types, of }, passed) {
    const { callee } = node;
    const isNew = node.type === 'NewExpression';
    let target;
    if (callee.type === 'Identifier') target = this.#targetOf(module, callee.name, isNew);
    else if (callee.type === 'MemberExpression' && callee.object.type === 'ThisExpression')
      target = { file: module.file, names: [`${of}.${nameOf(callee.property)}`] };
    else if (callee.type === 'MemberExpression' && callee.object.type === 'Identifier') {
      const type = types.get(callee.object.name) ?? callee.object.name;
      target = this.#targetOf(module, type, false, nameOf(callee.property));
    } else if (callee.type === 'MemberExpression' && callee.object.object?.type === 'ThisExpression') {
      const type = module.fields.get(`${of}.${nameOf(callee.object.property)}`);
      if (type !== undefined) target = this.#targetOf(module, type, false, nameOf(callee.property));
    }
    if (target === undefined) return;
    this.landings.push(target.file);
    for (const name of target.names) {
      const declared = readModule(target.file).functions.get(name);
      const isOther = isNew && !name.endsWith('.constructor');
      const carriers = [...(isNew ? ['this'] : []), ...(isOther ? [] : this.#carriersOf(declared, passed))];
      this.visit(target.file, name, new Set(carriers));
    }
  }

  #targetOf(module, name, isNew, method) {
    const imported = module.imports.get(name);
    const file = imported?.file ?? module.file;
    const known = imported?.name ?? name;
    const { functions, interfaces } = readModule(file);
    if (isNew) return { file, names: [...functions.keys()].filter((key) => key.startsWith(`${known}.`)) };
    const full = method === undefined ? known : `${known}.${method}`;
    if (functions.has(full)) return { file, names: [full] };
    // The reader of a call through an interface looks up its contract.
    return interfaces.has(known) ? { file, names: [full] } : undefined;
  }

  #carriersOf(declared, passed) {
    const names = [];
    for (const [i, parameterNode] of (declared?.params ?? []).entries()) {
      if (!passed[i]) continue;
      const target = parameterNode.type === 'TSParameterProperty' ? parameterNode.parameter : parameterNode;
      if (target.type === 'Identifier') names.push(target.name);
      if (target.type === 'ObjectPattern')
        for (const property of target.properties)
          if (
            property.type === 'Property' &&
            ['partition', 'identity', 'owner'].includes(nameOf(property.key))
          )
            names.push(property.value.name ?? property.value.left?.name);
    }
    return names;
  }
}
