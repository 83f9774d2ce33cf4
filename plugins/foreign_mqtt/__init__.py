"""Nodes that already speak MQTT (Tasmota, Zigbee2MQTT, ESPHome, Homie 5, declared maps) as further nodes of ours."""
