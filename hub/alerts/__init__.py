"""What is wrong now, once per root cause: conditions become alerts, alerts have a life.

``model``: the words. Sources (rules, the live tree, the hub itself) name all conditions that are true at this moment;
the book compares them with the moment before. Nothing here knows how somebody is told.
"""
