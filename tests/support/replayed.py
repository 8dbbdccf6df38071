"""A small world and a small loop that tests of the replay start from, and a contest small enough to count by hand."""

import pandas as pd

from training.config import parse_config
from training.policy_replay.environments import ReplayedWorld, describe_simulation
from training.policy_replay.experiment import Experiment
from training.policy_replay.replay import ReplaySettings

MAKER = describe_simulation(None, days=46, per_day=36, prevalence="operation")
SETTINGS = ReplaySettings(
    capacity=4, explore=0.25, warm_up_days=28, retrain_days=14, target="any_offence", background=0.2
)
CONFIG = parse_config(
    {
        "split": {"validation_days": 7, "label_delay_days": 3},
        "model": {"trees": 12},
        "weights": {"background_share": 1.0},
    }
)

FIRST_DAY = 19_723
# Policy to what it finds on days 14, 21 and 28 under two seeds.
FOUND = {
    "greedy": {1: (1, 0, 0), 2: (1, 0, 1)},
    "explore": {1: (0, 1, 1), 2: (1, 1, 1)},
    "oracle": {1: (1, 1, 1), 2: (1, 1, 1)},
}
NETWORKS = ("webshop", "webshop", "khat_network")


def contest(found=FOUND, events=(("a cover goes out of use", 21),)):
    openings, positives = [], []
    for policy, seeds in found.items():
        for seed, hits in seeds.items():
            for number, (day, hit) in enumerate(zip((14, 21, 28), hits, strict=True)):
                shared = {"policy": policy, "seed": seed, "day": FIRST_DAY + day}
                shared |= {"found": bool(hit), "warm_up": False, "within_capacity": True}
                name = f"P{number}" if hit else f"N{number}"
                result = "nps" if hit else "clear"
                openings.append({**shared, "consignment_id": name, "channel": "postal", "result": result})
                openings.append(
                    {
                        **openings[-1],
                        "consignment_id": f"X{number}",
                        "found": False,
                        "result": "other_offence",
                    }
                )
                positives.append(
                    {
                        **shared,
                        "consignment_id": f"P{number}",
                        "channel": "postal",
                        "network": NETWORKS[number],
                        "within_capacity": bool(hit),
                    }
                )
            past = {**openings[-1], "day": FIRST_DAY, "found": True, "result": "nps", "warm_up": True}
            tip = {**openings[-1], "found": True, "result": "nps", "within_capacity": False}
            openings += [past, tip]
            positives.append({**positives[-1], "day": FIRST_DAY, "warm_up": True, "found": True})
    settings = ReplaySettings(capacity=1, warm_up_days=7)
    world = ReplayedWorld(MAKER.create, 35, FIRST_DAY, MAKER.header, list(events))
    return Experiment(pd.DataFrame(openings), pd.DataFrame(positives), settings, world)
