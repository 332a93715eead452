"""Where pytest finds the fixtures: one plugin an idea."""

pytest_plugins = [
    "tests.fix_services",
    "tests.fix_store",
    "tests.fix_tree",
    "tests.fix_web",
    "tests.fix_nginx",
    "tests.faults.stage",
    "tests.fix_browser",
    "tests.faults.world",
    "tests.fix_replica",
]
