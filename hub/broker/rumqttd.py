"""The child process of the pip-installed broker: ``python -m hub.broker.rumqttd FILE.toml``, until it is killed."""

from __future__ import annotations

import sys


def main() -> None:
    from iotcore import IotCoreBroker

    IotCoreBroker(config_path=sys.argv[1]).run_forever()


if __name__ == "__main__":
    main()
