"""The simulated fleet: three task families in our own MuJoCo scenes, their sites and their scripted experts."""
