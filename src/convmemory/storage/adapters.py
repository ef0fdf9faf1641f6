"""How values go to PostgreSQL and come back on connections of ours, whatever an application registers with the driver for all of its own."""

from __future__ import annotations

import json
from typing import Final

from psycopg import postgres
from psycopg.adapt import AdaptersMap
from psycopg.types.array import register_all_arrays
from psycopg.types.json import set_json_loads

from convmemory.storage.text_arrays import AsBinary, AsLiteral, TextArray

OWN: Final = AdaptersMap(types=postgres.types)
"""Those that the driver begins with, and ours. Its own map is everybody's: there numbers may come as floats, UUIDs and times as texts."""

postgres.register_default_adapters(OWN)
register_all_arrays(OWN)
set_json_loads(json.loads, OWN)
OWN.register_dumper(TextArray, AsLiteral)
OWN.register_dumper(TextArray, AsBinary)  # the one that comes last is taken where either will do
