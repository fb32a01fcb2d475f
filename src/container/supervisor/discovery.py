"""Where plugins are looked for (contract 4.2), the first of a name wins:

<install root>/libexec/container-plugins/<name>/    the user's; the folder may be a link
<install root>/libexec/container/plugins/<name>/    the administrator's
container/plugins/<name>/ in this package           built in
entry points of the group `container.plugins`       Python packages: `<name> = "package.module"`, with a `config.toml`
                                                    beside the module
"""

import os
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

import container
from container.errors import ContainerError, os_reason
from container.paths import Roots
from container.supervisor.plugin import Plugin, Plugins, folder_plugin, load_config, module_plugin

ENTRY_POINTS = "container.plugins"


def plugin_folders(roots: Roots) -> list[str]:
    """The folders that hold plugin folders, the user's first."""
    return [
        os.path.join(roots.install, "libexec", "container-plugins"),
        os.path.join(roots.install, "libexec", "container", "plugins"),
    ]


def discover(roots: Roots) -> Plugins:
    """Every plugin of a system. What cannot be used is passed over with a warning that names it and the reason."""
    found: dict[str, Plugin] = {}
    warnings: list[str] = []
    for plugin in _candidates(roots, warnings):
        earlier = found.setdefault(plugin.name, plugin)
        if earlier is not plugin:
            warnings.append(f"plugin {plugin.name} in {plugin.folder} is shadowed by the one in {earlier.folder}")
    return Plugins(sorted(found.values(), key=lambda plugin: plugin.name), warnings)


def _candidates(roots: Roots, warnings: list[str]) -> Iterator[Plugin]:
    for parent in plugin_folders(roots):
        yield from _in_folder(os.path.realpath(parent), warnings, every=True)
    for package in container.__path__:
        yield from _in_folder(os.path.join(package, "plugins"), warnings, every=False)
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            yield _from_entry_point(entry)
        except ContainerError as error:
            warnings.append(f"skipped the plugin {entry.name}: {error}")


def _in_folder(parent: str, warnings: list[str], *, every: bool) -> Iterator[Plugin]:
    """The plugins in a folder; `every`: each folder in it has to be one."""
    try:
        names = sorted(os.listdir(parent))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        warnings.append(f"skipped the plugins in {parent}: {os_reason(error)}")
        return
    for name in names:
        folder = os.path.join(parent, name)
        path = os.path.join(folder, "config.toml")
        if not os.path.isdir(folder) or (not every and not os.path.exists(path)):
            continue
        legacy = os.path.join(folder, "config.json")
        if not os.path.exists(path) and os.path.exists(legacy):
            warnings.append(f"plugin {name} in {folder} has a legacy config.json: write a config.toml")
            path = legacy
        try:
            yield folder_plugin(folder, load_config(path))
        except ContainerError as error:
            warnings.append(f"skipped the plugin in {folder}: {error}")


def _from_entry_point(entry: EntryPoint) -> Plugin:
    """The plugin behind an entry point; its configuration is found without importing anything of it."""
    package, *middle = entry.module.split(".")[:-1] or [entry.module]
    spec = find_spec(package)
    locations = list(spec.submodule_search_locations or ()) if spec is not None else []
    folder = os.path.join(locations[0] if locations else package, *middle)
    config = load_config(os.path.join(folder, "config.toml"))
    plugin = module_plugin(entry.name, config, folder, entry.module)
    _ = plugin.services  # commands have to be folders: the CLI becomes their program
    return plugin
