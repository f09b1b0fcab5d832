#!/usr/bin/env python3
"""Computes what the pipeline `weather` should make of input/weather.jsonl.gz, by itself, into expected/.

A line of a file in expected/ is a record's key, a tab and its value. `--check` writes nothing and compares.
"""
import gzip
import json
import math
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
IMPLAUSIBLE_MPH = 253
# Field, whether the limit is a least or a most, limit, kind, unit.
THRESHOLDS = (
    ("wind_gust", "least", 40.0, "wind-gust", "mph"),
    ("visib", "most", 0.5, "low-visibility", "miles"),
    ("precip", "least", 0.3, "heavy-precipitation", "inches"),
    ("temp", "most", 20.0, "hard-freeze", "fahrenheit"),
)


def alerts(reading):
    for field, side, limit, kind, unit in THRESHOLDS:
        value = reading[field]
        if value is None:
            continue
        if value >= limit if side == "least" else value <= limit:
            yield {
                "station": reading["origin"], "time": reading["time_hour"], "kind": kind,
                "value": math.floor(value * 100 + 0.5) / 100, "limit": limit, "unit": unit,
            }


def main():
    files = {"weather-alerts": [], "weather-dead": []}
    with gzip.open(HERE / "input/weather.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            reading = json.loads(line)
            key = reading["origin"]
            if any((reading[field] or 0) > IMPLAUSIBLE_MPH for field in ("wind_speed", "wind_gust")):
                files["weather-dead"].append(f"{key}\t{line}")
                continue
            for alert in alerts(reading):
                files["weather-alerts"].append(key + "\t" + json.dumps(alert, separators=(",", ":")) + "\n")
    for name, records in files.items():
        path = HERE / f"expected/{name}.tsv"
        content = "".join(records)
        if "--check" in sys.argv:
            if path.read_text(encoding="utf-8") != content:
                sys.exit(f"{path} is not what the input gives")
        else:
            path.write_text(content, encoding="utf-8")
        print(f"{name}: {len(records)} records")


main()
