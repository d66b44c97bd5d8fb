"""{{name}}: greets, and remembers how often. Replace it by what your module does."""

import humanize
import wachter_module


def execute(context):
    # Input, with its defaults. input.schema.json describes it.
    options = context.options({"greeting": "Hello"})

    # State: what the last run left; nothing at the first.
    context.state.setdefault("count", 0)
    context.state["count"] += 1
    context.log("info", f"this is the {humanize.ordinal(context.state['count'])} run")

    # Report a problem like this, with its topic under `emits` in module.yaml:
    # context.finding(
    #     "{{name}}.problem",
    #     severity="low",
    #     confidence=1,
    #     subject="greeting",
    #     message="the greeting is short",
    #     fingerprint="{{name}}.problem:greeting",
    # )

    greeting = options["greeting"]
    output = {"count": context.state["count"]}
    # A second run with the same input finds nothing to do.
    if context.state.get("greeting") == greeting:
        return wachter_module.unchanged(f"{greeting} again", output)
    # In a dry run say what would be done, and do nothing.
    if context.dry_run:
        return wachter_module.changed(f"would greet with {greeting}", output)
    # Do it here.
    context.state["greeting"] = greeting
    return wachter_module.changed(greeting, output)


if __name__ == "__main__":
    wachter_module.run(execute)
